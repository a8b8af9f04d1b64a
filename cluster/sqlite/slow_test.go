//go:build linux

package sqlite_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/projections"
)

// slowly passes what is sent to a NATS server on at so many bytes a second for each connection, and returns the URL to send it to.
func slowly(t *testing.T, url string, rate int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				_ = near.Close()
				return
			}
			both := func() { _, _ = near.Close(), far.Close() }
			go func() { defer both(); _, _ = io.Copy(near, far) }()
			go func() {
				defer both()
				_ = near.(*net.TCPConn).SetReadBuffer(16 << 10)
				piece := make([]byte, 16<<10)
				for {
					n, err := near.Read(piece)
					if err != nil {
						return
					}
					<-time.After(time.Duration(n) * time.Second / time.Duration(rate))
					if _, err := far.Write(piece[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "nats://" + ln.Addr().String()
}

// Megabytes on their way to the store are not between a lease's renewal and its answer: on a slow network the node keeps its lease, and its app
// its epoch.
func TestSlowNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("megabytes take some seconds on a slow network")
	}
	p, dir := plane(t)
	b := &bank{t: t, branches: []*branch{start(t, "node-1", slowly(t, p.URL, 1<<20), dir)}}
	from := b.active()
	const size = 6 << 20 // several times the lease
	if _, err := from.db.ExecContext(t.Context(), "INSERT INTO entries (entry) VALUES (randomblob(?))", size); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(p.Base.NC)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the entry is in the store", func() bool {
		s, err := js.Stream(t.Context(), "OBJ_GC_prod_DATA_ledger")
		return err == nil && s.CachedInfo().State.Bytes > size
	})
	p.Base.Replica.View(func(v *projections.Cluster) {
		if n, l := v.Nodes["node-1"], v.Apps["ledger"].Leader; n.Status != projections.StatusReady || l == nil || l.Epoch != 1 || l.Ended {
			t.Errorf("node-1 is %s, and the leader of the ledger is %+v, want epoch 1 on it", n.Status, l)
		}
	})
}
