package sim

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/replicationtest"
	"github.com/go-cluster/go-cluster/spec"
)

// TestReplicationContract: simulated databases keep the contract that the real ones keep.
func TestReplicationContract(t *testing.T) {
	replicationtest.Run(t, leftOut(), func(*testing.T) replicationtest.Kind {
		began := time.Now()
		return lab{newStore(func() time.Duration { return time.Since(began) })}
	})
}

// lab is machines with one store.
type lab struct{ s *Store }

// Machine implements replicationtest.Kind.
func (l lab) Machine(_ *testing.T, name string) (agent.Replication, agent.Data) {
	d := agent.Data{App: spec.App{Name: "app", Mode: spec.Singleton, SQLite: "$GC_DATA_DIR/app.db"}, Instance: "app-0", Dir: name}
	return replication{s: l.s, node: name, up: func() bool { return true }}, d
}

// leftOut says which parts of the contract make no sense here, and why.
func leftOut() map[string]string {
	return map[string]string{replicationtest.Acknowledged: "what is not shipped is on its machine alone"}
}

// Open implements replicationtest.Kind.
func (l lab) Open(_ *testing.T, d agent.Data) replicationtest.App { return client{l.s, d} }

// client writes one by one.
type client struct {
	s *Store
	d agent.Data
}

// Write implements replicationtest.App.
func (c client) Write(_ *testing.T, n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	db := c.s.on(c.d.Dir, c.d.Instance)
	db.rows = append(db.rows, row{n: n})
}

// Late implements replicationtest.App.
func (c client) Late(t *testing.T, n int) bool { t.Helper(); c.Write(t, n); return true }

// Numbers implements replicationtest.App.
func (c client) Numbers(_ *testing.T) (out []int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, r := range c.s.on(c.d.Dir, c.d.Instance).rows {
		out = append(out, r.n)
	}
	return out
}

// Close implements replicationtest.App.
func (c client) Close(*testing.T) {}

// Kill implements replicationtest.App.
func (c client) Kill(*testing.T) {}

// TestLogContract: simulated logs keep the contract that the real ones keep.
func TestLogContract(t *testing.T) {
	all := "what is acknowledged is stored: there is nothing that is not shipped"
	replicationtest.Run(t, map[string]string{
		replicationtest.FromZero:    "that an epoch has begun is a record, which positions count",
		replicationtest.OnlyShipped: all,
		replicationtest.SetAside:    all,
		replicationtest.Forgotten:   "epochs are parts of one history: the newest rests on those before it",
	}, func(*testing.T) replicationtest.Kind {
		return logLab{newStore(func() time.Duration { return 0 })}
	})
}

// logLab is machines with one store of logs.
type logLab struct{ s *Store }

// Machine implements replicationtest.Kind.
func (l logLab) Machine(_ *testing.T, name string) (agent.Replication, agent.Data) {
	d := agent.Data{App: spec.App{Name: "app", Mode: spec.Singleton, Log: true}, Instance: "app-0", Dir: name}
	return logs{replication{s: l.s, node: name, up: func() bool { return true }}}, d
}

// Open implements replicationtest.Kind.
func (l logLab) Open(_ *testing.T, d agent.Data) replicationtest.App {
	return logClient{client{l.s, d}}
}

// logClient writes one by one.
type logClient struct{ client }

// Write implements replicationtest.App.
func (c logClient) Write(t *testing.T, n int) {
	t.Helper()
	c.s.mu.Lock()
	epoch := c.s.on(c.d.Dir, c.d.Instance).at.Epoch
	c.s.mu.Unlock()
	if !c.s.append(c.d.Dir, c.d.App.Name, c.d.Instance, epoch, row{n: n}) {
		t.Errorf("%d is refused under epoch %d", n, epoch)
	}
}

// Late implements replicationtest.App.
func (c logClient) Late(_ *testing.T, n int) bool {
	return c.s.append(c.d.Dir, c.d.App.Name, c.d.Instance, 1, row{n: n})
}

// Numbers implements replicationtest.App.
func (c logClient) Numbers(_ *testing.T) []int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	out := []int{}
	for _, r := range c.s.app(c.d.App.Name).log.written(c.s.on(c.d.Dir, c.d.Instance).at.Seq) {
		out = append(out, r.n)
	}
	return out
}
