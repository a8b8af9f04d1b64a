//go:build linux

package chaos

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// web is an HTTP client where the clients of the cluster are.
func (c *cluster) web(timeout time.Duration) http.Client {
	h := http.Client{Timeout: timeout}
	if c.lan != nil {
		d := c.lan.dialer(lanClient)
		h.Transport = &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) { return d.Dial(network, address) }}
	}
	return h
}

// What can happen to a network around the active of a ledger, and around the target while it moves. It is never active twice, no write is
// lost that a planned move carries, and clients do without it for no longer than its lease and what a start takes.
func TestLedgerNetworks(t *testing.T) {
	cut := func(host string, from ...string) func(c *cluster) {
		return func(c *cluster) { c.lan.filter(host, c.lan.cut(host, from...)...) }
	}
	harms := map[string]func(c *cluster){
		"active cut from NATS":             cut("n1", lanNATS),
		"active cut from the target":       cut("n1", "n2"),
		"active cut from NATS and target":  cut("n1", lanNATS, "n2"),
		"active cut from everybody":        cut("n1", lanNATS, lanClient, "n2", "n3"),
		"active hears nothing from NATS":   func(c *cluster) { c.lan.filter("n1", c.lan.deaf("n1", lanNATS)...) },
		"active is not heard by NATS":      func(c *cluster) { c.lan.filter("n1", c.lan.mute("n1", lanNATS)...) },
		"active loses 30 % of all packets": func(c *cluster) { c.lan.filter("n1", c.lan.lossy("n1", 30)...) },
		"target cut from NATS":             cut("n2", lanNATS),
		"target hears nothing from NATS":   func(c *cluster) { c.lan.filter("n2", c.lan.deaf("n2", lanNATS)...) },
		"target is not heard by NATS":      func(c *cluster) { c.lan.filter("n2", c.lan.mute("n2", lanNATS)...) },
		"target loses 30 % of all packets": func(c *cluster) { c.lan.filter("n2", c.lan.lossy("n2", 30)...) },
		"active flaps": func(c *cluster) {
			d := dice(c.t.Name())
			for range 12 {
				cut("n1", lanNATS)(c)
				pass(c.t, time.Duration(d.Int64N(int64(2*ttl))))
				c.lan.filter("n1")
				pass(c.t, time.Duration(d.Int64N(int64(ttl))))
			}
		},
	}
	if !*all {
		harms = map[string]func(c *cluster){"active cut from NATS": harms["active cut from NATS"]}
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) { ledgerNetwork(t, harm) })
	}
}

func ledgerNetwork(t *testing.T, harm func(c *cluster)) {
	const app = "ledger"
	c := startLAN(t, "n1", "n2", "n3")
	if from := c.applyLedger(app); from != "n1" {
		c.moveLedger(app, from, "n1")
	}
	clients := []*client{c.writer(app, "a"), c.writer(app, "b")}
	clients[0].more()
	for _, w := range clients {
		w.pause()
	}
	began := c.seq()
	harmed := make(chan struct{})
	c.onStep("sync", app, func() { harm(c); close(harmed) }) // in the middle of a move to n2
	c.spawn(&process{name: "move", env: c.mark(), argv: c.lan.argv(lanNATS, c.argv("app", "move", app, "--from", "n1", "--to", "n2", "--detach")...)})
	select {
	case <-harmed:
	case <-time.After(limit):
		t.Fatalf("no sync within %s", limit)
	}
	pass(t, 5*ttl)
	c.lan.filter("n1")
	c.lan.filter("n2")
	c.until("all is well again", limit, func(v *projections.Cluster) bool {
		for _, m := range v.Migrations {
			if m.App == app && m.Admitted.Seq > began && !m.Ended() {
				return false
			}
		}
		return runs(v, app) && ready(v, "n1", "n2", "n3")
	})
	clients[0].more()
	clients[1].more()
	longest := max(clients[0].pause().took, clients[1].pause().took)
	possible, grants := false, 0
	for _, e := range c.stored(began) {
		if g, ok := e.Data.(*events.LeadershipGranted); ok {
			possible, grants = possible || g.DataLossPossible, grants+1
		}
	}
	at := c.on(app)[0]
	c.moveLedger(app, at, map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[at])
	acked, lost := c.reckon(app, possible, clients...)
	if lost > 0 && !possible {
		t.Errorf("%d of %d entries are lost, and no grant said that it may be", lost, acked)
	}
	if most := ttl*11/10 + 10*time.Second; longest > most {
		t.Errorf("no entry was acknowledged for %s, more than %s", longest, most)
	}
	t.Logf("%d entries acknowledged, %d lost, loss possible: %t, %d grants, longest pause %s", acked, lost, possible, grants, longest.Round(time.Millisecond))
}
