//go:build linux

package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/agent/replicationtest"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport/embedded/servertest"
)

// The replication of SQLite keeps its contract with apps that have the database open in its own process.
func TestContract(t *testing.T) {
	replicationtest.Run(t, leftOut(), func(t *testing.T) replicationtest.Kind {
		l := &lab{dir: t.TempDir()}
		_, l.js, l.subjects = servertest.Cluster(t)
		return l
	})
}

// lab is machines on one NATS server.
type lab struct {
	js       jetstream.JetStream
	subjects events.Subjects
	dir      string
}

// Machine implements replicationtest.Kind.
func (l *lab) Machine(t *testing.T, name string) (agent.Replication, agent.Data) {
	t.Helper()
	dir := filepath.Join(l.dir, name, "data", "ledger-0")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return litestream.New(litestream.Options{JS: l.js, Subjects: l.subjects, Log: zap.NewNop()}),
		agent.Data{App: spec.App{Name: "ledger"}, Instance: "ledger-0", Path: filepath.Join(dir, "ledger.db"), Dir: filepath.Join(l.dir, name, "own")}
}

// leftOut says which parts of the contract make no sense here, and why.
func leftOut() map[string]string {
	return map[string]string{replicationtest.Acknowledged: "what is not shipped is on its machine alone"}
}

// Open implements replicationtest.Kind.
func (l *lab) Open(t *testing.T, d agent.Data) replicationtest.App {
	t.Helper()
	w := &writer{at(t, filepath.Dir(filepath.Dir(filepath.Dir(d.Path))), embedded.App{})}
	w.leads(1)
	w.exec("CREATE TABLE IF NOT EXISTS numbers (id INTEGER PRIMARY KEY, n INTEGER, filler BLOB)")
	return w
}

type writer struct{ *place }

// Write implements replicationtest.App.
func (w *writer) Write(t *testing.T, n int) {
	t.Helper()
	w.exec("INSERT INTO numbers (n, filler) VALUES (?, randomblob(300))", n)
}

// Late implements replicationtest.App.
func (w *writer) Late(t *testing.T, n int) bool { t.Helper(); w.Write(t, n); return true }

// Numbers implements replicationtest.App.
func (w *writer) Numbers(t *testing.T) []int { t.Helper(); return replicationtest.Numbers(t, w.db) }

// Close implements replicationtest.App.
func (w *writer) Close(t *testing.T) {
	t.Helper()
	if _, err := w.driver.Stop(context.WithoutCancel(t.Context()), "ledger-0"); err != nil {
		t.Fatal(err)
	}
}

// Kill implements replicationtest.App.
func (w *writer) Kill(t *testing.T) {
	t.Helper()
	if err := w.driver.Kill("ledger-0"); err != nil {
		t.Fatal(err)
	}
}
