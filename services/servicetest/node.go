package servicetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// Node is the lease side of an agent: it takes its lease, declares itself and renews.
type Node struct {
	c     *Cluster
	Lease api.Lease
	seq   uint64
	stop  func()
}

const renewEvery = 5 * time.Second

// Join takes a node's lease over nothing or free, and keeps it.
func (c *Cluster) Join(t *testing.T, id string) *Node {
	t.Helper()
	n := c.Hold(t, id, "machine-"+id, "boot-1")
	n.Declare(t, nil)
	n.Keep(t)
	return n
}

// Hold takes a node's lease, once. Over a held one that is only right for the same machine after a reboot.
func (c *Cluster) Hold(t *testing.T, id, machine, boot string) *Node {
	t.Helper()
	old, found, err := c.Leases.Get(c.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{c: c, Lease: api.Lease{State: api.LeaseHeld, Node: id, Machine: machine, Boot: boot, N: old.Lease.N + 1, TTL: spec.Duration(30 * time.Second), Host: id}}
	if found && old.Lease.State != api.LeaseFree && (old.Lease.Machine != machine || old.Lease.Boot == boot) {
		t.Fatalf("lease of %s is %s by %s", id, old.Lease.State, old.Lease.Inc)
	}
	n.Lease.Inc = fmt.Sprintf("%s-%s-%d", machine, boot, n.Lease.N)
	if n.seq, err = c.Leases.Put(c.ctx, n.Lease, old.Seq); err != nil {
		t.Fatal(err)
	}
	return n
}

// Declaration is what the node says of itself.
func (n *Node) Declaration(labels map[string]string) api.DeclareRequest {
	m := n.c.Meta()
	m.Actor = "agent:" + n.Lease.Node
	return api.DeclareRequest{Meta: m, Node: n.Lease.Node, Inc: n.Lease.Inc, Machine: n.Lease.Machine, TTL: n.Lease.TTL, Labels: labels,
		Facts: events.Facts{Address: "10.0.0.7", Version: "test", CPU: 4000, Memory: 8 << 30, Drivers: []string{"process"}}}
}

// Declare says it.
func (n *Node) Declare(t *testing.T, labels map[string]string) api.DeclareReply {
	t.Helper()
	return Must[api.DeclareReply](t, n.c, api.NodeDeclare, n.Declaration(labels))
}

// Keep renews every 5 s until Silence, or until somebody else has written the lease.
func (n *Node) Keep(t *testing.T) {
	t.Helper()
	n.stop = n.c.Start(t, func(ctx context.Context) error {
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			seq, err := n.c.Leases.Put(ctx, n.Lease, n.seq)
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, transport.ErrLeaseMoved):
				l, _, err := n.c.Leases.Get(ctx, n.Lease.Node)
				if err != nil || l.Lease.State != api.LeaseHeld || l.Lease.Inc != n.Lease.Inc {
					return nil // somebody else's
				}
				seq = l.Seq // the renewal under way when it fell silent was stored
			case err != nil:
				return err
			}
			n.seq = seq
		}
	})
}

// Silence stops renewing: the machine is gone.
func (n *Node) Silence() { n.stop() }

// Yield writes yielded over a closed lease: everything is stopped.
func (n *Node) Yield(t *testing.T) {
	t.Helper()
	n.Silence()
	l, _, err := n.c.Leases.Get(n.c.ctx, n.Lease.Node)
	if err != nil || l.Lease.State != api.LeaseClosed {
		t.Fatalf("lease of %s is %s, not closed (%v)", n.Lease.Node, l.Lease.State, err)
	}
	l.Lease.State = api.LeaseYielded
	if _, err := n.c.Leases.Put(n.c.ctx, l.Lease, l.Seq); err != nil {
		t.Fatal(err)
	}
}
