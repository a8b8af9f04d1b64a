package cluster

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/projections"
	natsserver "github.com/go-cluster/go-cluster/transport/embedded"
)

// World is a running cluster for the tests that use this package as others do.
type World struct{ *world }

// NewWorld starts one in real time, on a NATS server that listens.
func NewWorld(t *testing.T) *World {
	dir := t.TempDir()
	return &World{newWorld(t, dir, natsserver.Options{StoreDir: filepath.Join(dir, "nats"), Port: -1})}
}

// URL is where NATS is.
func (w *World) URL() string { return w.srv.ClientURL() }

// Dir is a directory of its own for a node.
func (w *World) Dir(node string) string { return filepath.Join(w.dir, node) }

// Start runs a platform until the test ends, and waits until it is a node.
func (w *World) Start(p *Platform) (stop func()) {
	w.Helper()
	joined := make(chan struct{}, 100)
	p.tune = joinedTo(joined)
	stop = w.spawn(w.T, w.ctx, p.Run)
	select {
	case <-joined:
	case <-time.After(time.Minute):
		w.Fatalf("node %s has not joined\n%s", p.node, w.state())
	}
	return stop
}

// On waits until exactly the given nodes run the app.
func (w *World) On(app string, nodes ...string) { w.Helper(); w.on(app, nodes...) }

// Idle waits for something that no event says.
func (w *World) Idle(what string, is func() bool) { w.Helper(); w.idle(what, is) }

// Until waits for a fact of the log.
func (w *World) Until(what string, is func(*projections.Cluster) bool) {
	w.Helper()
	w.until(what, is)
}

// Context ends with the test.
func (w *World) Context() context.Context { return w.ctx }
