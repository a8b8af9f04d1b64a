//go:build linux

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// A dev cluster that is killed in the middle of a move goes on with it at the next start, and takes over what still runs.
func TestDevKilledDuringAMove(t *testing.T) {
	times := 3
	if *all {
		times = 20
	}
	const longest = 30 * time.Millisecond // after an event; a move takes some hundred here
	hits := 0                             // kills that a move was under way at
	random := dice("dev")
	c := open(t, newDir(t))
	home := filepath.Join(c.dir, "dev")
	dev := c.spawn(&process{name: "dev", env: c.mark(), argv: []string{binary, "dev", "--cluster", name, "--data-dir", home, "--nats-port", "0",
		"--http-port", "0", "--verbose"}})
	url, port := devReady(c, dev, 1)
	for i, arg := range dev.argv {
		if arg == "--nats-port" {
			dev.argv[i+1] = port
		}
	}
	c.connect(url)
	nodes := []string{"node-1", "node-2", "node-3"}
	settled := func(v *projections.Cluster) bool { return ready(v, nodes...) && runs(v, "counter") && runs(v, "web") }
	c.until("the sample apps run", limit, settled)

	for i := range times {
		mode := []string{"singleton", "pool"}[random.IntN(2)]
		app := map[string]string{"singleton": "counter", "pool": "web"}[mode]
		at := moments[mode][random.IntN(len(moments[mode]))]
		after := time.Duration(random.Int64N(int64(longest)))
		t.Logf("%d: %s moves, dev is killed %s after %s", i+1, app, after, at)
		began := c.seq()
		from := c.on(app)[0]
		before := pids(c)
		var killed time.Time
		c.onEvent(at, app, func() {
			pass(t, after)
			killed = time.Now()
			_ = syscall.Kill(-dev.pid(), syscall.SIGKILL) // its group, without the apps: they have groups of their own
			dev.note("killed")
		})
		c.spawn(&process{name: fmt.Sprintf("move-%d", i+1), env: c.mark(), argv: c.argv("app", "move", app, "--from", from, "--detach")})
		select {
		case <-dev.ended():
		case <-time.After(limit):
			t.Fatal("dev was not killed")
		}
		orphans := pids(c)
		for id, pid := range before {
			if !strings.HasPrefix(id, app+"-") && orphans[id] != pid {
				t.Errorf("%s was process %d and ended with dev", id, pid)
			}
		}
		c.restart(dev)
		devReady(c, dev, i+2)
		c.until("the move has ended", limit, func(v *projections.Cluster) bool {
			for _, m := range v.Migrations {
				if m.App == app && m.Admitted.Seq > began && m.Ended() {
					return settled(v)
				}
			}
			return false
		})
		c.serves("counter")
		c.serves("web")
		aloneIn(t, filepath.Join(home, "counter.journal"))
		now := pids(c)
		moved := map[string]bool{}
		for _, e := range c.stored(began) {
			switch d := e.Data.(type) {
			case *events.MigrationStarted:
				moved[d.Instance+"@"+d.FromNode], moved[d.Instance+"@"+d.ToNode] = true, true
			case *events.MigrationCompleted, *events.MigrationFailed:
				if e.Stored.After(killed) {
					hits++
				}
			}
		}
		for id, pid := range orphans {
			if !moved[id] && now[id] != pid {
				t.Errorf("%s was process %d and is %d: it was not taken over", id, pid, now[id])
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d of %d kills were in the middle of a move", hits, times)
	if hits == 0 {
		t.Error("no move was under way at any kill: this has shown nothing")
	}
}

var readyLine = regexp.MustCompile(`(?m)^ready nats=(\S+:(\d+)) `)

// devReady waits until dev has said for the n-th time that it is ready.
func devReady(c *cluster, dev *process, n int) (url, port string) {
	c.t.Helper()
	until(c.t, "dev is ready", limit, func() bool {
		b, _ := os.ReadFile(dev.log)
		all := readyLine.FindAllStringSubmatch(string(b), -1)
		if len(all) < n {
			return false
		}
		url, port = all[n-1][1], all[n-1][2]
		return true
	})
	return url, port
}

// pids returns the process of each instance on each node; several on one are an error.
func pids(c *cluster) map[string]int {
	c.t.Helper()
	out := map[string]int{}
	for _, p := range processesOf(c.dir) {
		id := p.getenv("GC_INSTANCE")
		if id == "" || p.getenv("GC_DATA_DIR") == "" {
			continue
		}
		key := id + "@" + p.getenv("GC_NODE")
		if out[key] != 0 {
			c.t.Errorf("%s is both process %d and %d", key, out[key], p.pid)
		}
		out[key] = p.pid
	}
	return out
}
