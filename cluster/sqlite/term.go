//go:build linux

package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"

	modernc "modernc.org/sqlite"

	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/api"
)

// term is one time of being active. It ends once, for every connection of it.
type term struct {
	path    string
	raw     driver.Connector
	active  context.Context // of OnActive; only for its gate: it ends before the last write
	running context.Context // ends with the term: what runs is interrupted
	stop    context.CancelFunc

	mu      sync.Mutex
	over    bool
	conns   map[*conn]bool
	spare   *conn          // one of conns that nobody has been given; or nil
	opening sync.WaitGroup // connections that are not in conns yet; none is added once it is over
}

func newTerm(active context.Context, path string, raw driver.Connector) *term {
	t := &term{path: path, raw: raw, active: active, conns: map[*conn]bool{}}
	t.running, t.stop = context.WithCancel(context.WithoutCancel(active))
	return t
}

// fenced says why nothing may be written, or nil.
func (t *term) fenced() error {
	t.mu.Lock()
	over := t.over
	t.mu.Unlock()
	if over {
		return t.gone()
	}
	if err := embedded.Check(t.active); err != nil {
		return api.Refuse(api.CodeFenced, "%s: %v", t.path, err)
	}
	return nil
}

// acknowledge returns nil once what was committed before the call may be acknowledged.
func (t *term) acknowledge(ctx context.Context) error {
	if err := t.fenced(); err != nil {
		return err
	}
	stored := embedded.Awaits(t.active, ctx)
	if stored == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.running, cancel)()
	err := stored(ctx)
	if why := t.fenced(); why != nil {
		return why
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", t.path, ErrNotStored, err)
	}
	return nil
}

func (t *term) gone() error {
	return api.Refuse(api.CodeFenced, "%s: the epoch that it was opened under has ended here", t.path)
}

// keep has the next connect return c.
func (t *term) keep(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spare = c
}

func (t *term) spared() *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.spare
	t.spare = nil
	return c
}

func (t *term) connect(ctx context.Context) (*conn, error) {
	if c := t.spared(); c != nil {
		return c, nil
	}
	if err := t.opens(); err != nil {
		return nil, err
	}
	defer t.opening.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.running, cancel)()
	raw, err := t.raw.Connect(ctx)
	if err != nil {
		return nil, cmp.Or(t.fenced(), err)
	}
	whole, ok := raw.(rawConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s: a connection of this driver cannot do what is needed (%T)", t.path, raw), raw.Close())
	}
	c := &conn{t: t, raw: whole, open: map[closer]bool{}}
	whole.RegisterCommitHook(func() int32 {
		if t.fenced() != nil {
			return 1 // it becomes a rollback
		}
		c.committed.Store(true)
		return 0
	})
	t.mu.Lock()
	over := t.over
	if !over {
		t.conns[c] = true
	}
	t.mu.Unlock()
	if over {
		return nil, errors.Join(t.fenced(), raw.Close())
	}
	return c, nil
}

// opens counts one more connection in the making, unless the term is over.
func (t *term) opens() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return t.gone()
	}
	t.opening.Add(1)
	return nil
}

// end interrupts what runs, rolls back, and closes every connection, those that are being opened as well.
func (t *term) end() {
	t.mu.Lock()
	conns := t.conns
	t.over, t.conns, t.spare = true, nil, nil
	t.mu.Unlock()
	t.stop()
	for c := range conns {
		_ = c.kill()
	}
	t.opening.Wait()
}

// rawConn is a connection of modernc.org/sqlite.
type rawConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	modernc.HookRegisterer
}
