//go:build linux

package litestream

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap/zaptest"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/replicationtest"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport/embedded/servertest"
)

func TestContract(t *testing.T) {
	replicationtest.Run(t, leftOut(), func(t *testing.T) replicationtest.Kind { return newLab(t) })
}

// lab is machines on one NATS server.
type lab struct {
	js       jetstream.JetStream
	subjects events.Subjects
	dir      string
	options  func(*Options)
}

func newLab(t *testing.T) *lab {
	t.Helper()
	_, js, subjects := servertest.Cluster(t)
	return &lab{js: js, subjects: subjects, dir: t.TempDir()}
}

// Machine implements replicationtest.Kind.
func (l *lab) Machine(t *testing.T, name string) (agent.Replication, agent.Data) {
	t.Helper()
	o := Options{JS: l.js, Subjects: l.subjects, Log: zaptest.NewLogger(t).Named(name)}
	if l.options != nil {
		l.options(&o)
	}
	dir := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	return New(o), agent.Data{App: spec.App{Name: "ledger"}, Instance: "ledger-0", Path: filepath.Join(dir, "data", "ledger.db"), Dir: filepath.Join(dir, "own")}
}

// leftOut says which parts of the contract make no sense here, and why.
func leftOut() map[string]string {
	return map[string]string{replicationtest.Acknowledged: "what is not shipped is on its machine alone"}
}

// Open implements replicationtest.Kind.
func (l *lab) Open(t *testing.T, d agent.Data) replicationtest.App {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+d.Path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	a := &writer{db: db}
	a.exec(t, "CREATE TABLE IF NOT EXISTS numbers (id INTEGER PRIMARY KEY, n INTEGER, filler BLOB)")
	return a
}

type writer struct{ db *sql.DB }

func (w *writer) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := w.db.ExecContext(context.WithoutCancel(t.Context()), query, args...); err != nil {
		t.Errorf("%s: %v", query, err)
	}
}

// Write implements replicationtest.App.
func (w *writer) Write(t *testing.T, n int) {
	t.Helper()
	w.exec(t, "INSERT INTO numbers (n, filler) VALUES (?, randomblob(300))", n)
}

// Late implements replicationtest.App.
func (w *writer) Late(t *testing.T, n int) bool { t.Helper(); w.Write(t, n); return true }

// Numbers implements replicationtest.App.
func (w *writer) Numbers(t *testing.T) []int { t.Helper(); return replicationtest.Numbers(t, w.db) }

// Close implements replicationtest.App.
func (w *writer) Close(t *testing.T) {
	t.Helper()
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Kill implements replicationtest.App.
func (w *writer) Kill(t *testing.T) { t.Helper(); w.Close(t) }
