//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/cluster/sqlite"
	"github.com/go-cluster/go-cluster/examples/journal"
	"github.com/go-cluster/go-cluster/examples/ledger"
)

// What the books are kept in.
const (
	inSQLite = "sqlite"
	inLog    = "log"
)

// books are those of the program: of the term in which it is the active one. It implements ledger.Books and http.Handler.
type books struct {
	app  *cluster.Application
	http http.Handler
	term atomic.Pointer[term] // nil before the first
}

// term is one time of being active.
type term struct {
	active context.Context // of OnActive
	ledger.Books
}

func newBooks(keep string, j *journal.Journal) (*books, error) {
	b := &books{app: cluster.App("ledger", cluster.Singleton())}
	b.http = ledger.Handler(b)
	var open func(ctx context.Context, here cluster.Here) (ledger.Books, error)
	switch keep {
	case inSQLite:
		db := sqlite.Open(b.app, "ledger.db")
		db.SetMaxOpenConns(1) // SQLite has one writer, and who finds it busy sleeps
		open = func(ctx context.Context, here cluster.Here) (ledger.Books, error) {
			d := &ledger.Database{DB: db, Node: here.Node, Epoch: here.Epoch, Journal: j}
			return d, d.Open(ctx)
		}
	case inLog:
		s := &state{}
		log := b.app.Log(s)
		open = func(_ context.Context, here cluster.Here) (ledger.Books, error) {
			return &record{log: log, state: s, here: here, journal: j}, nil
		}
	default:
		return nil, fmt.Errorf("-keep %q: want %s or %s", keep, inSQLite, inLog)
	}
	b.app.OnActive(func(ctx context.Context) error {
		here, _ := cluster.Where(ctx)
		opened, err := open(ctx, here)
		if err == nil {
			b.term.Store(&term{ctx, opened})
		}
		return err
	})
	return b, nil
}

// ServeHTTP implements http.Handler. Where the program is not the active one, its answer is 503: the client asks another.
func (b *books) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := b.app.Fence(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	b.http.ServeHTTP(w, r)
}

// now returns the term, and why there is none.
func (b *books) now() (*term, error) {
	if t := b.term.Load(); t != nil {
		return t, b.app.Fence(t.active)
	}
	return nil, fmt.Errorf("%s has never begun here: %w", b.app.Name(), cluster.ErrFenced)
}

// Post implements ledger.Books. The step-down waits for it: what it writes down comes before anything that the next active does.
func (b *books) Post(ctx context.Context, writer string, n int64) (e ledger.Entry, err error) {
	t, err := b.now()
	if err != nil {
		return e, err
	}
	err = b.app.Write(t.active, func(context.Context) error {
		e, err = t.Post(ctx, writer, n)
		return err
	})
	return e, err
}

// List implements ledger.Books.
func (b *books) List(ctx context.Context) ([]ledger.Entry, error) {
	t, err := b.now()
	if err != nil {
		return nil, err
	}
	return t.List(ctx)
}

// Check implements ledger.Books.
func (b *books) Check(ctx context.Context) (string, error) {
	t, err := b.now()
	if err != nil {
		return "", err
	}
	return t.Check(ctx)
}
