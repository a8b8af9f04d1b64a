//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

var moves = flag.Int("chaos.moves", 10, "planned moves of each kind of data in TestSwitchover")

// Planned moves under steady writes, one after the other, for every kind of data that moves: what clients see of them, beside what could not
// be less on this machine at the same time, and beside what somebody does by hand who has nothing of this.
func TestSwitchover(t *testing.T) {
	nodes := []string{"n1", "n2"}
	t.Run("process with SQLite", func(t *testing.T) {
		measured{c: startFixed(t, nodes...), process: true, ships: true}.run(nodes)
	})
	t.Run("Go program with SQLite", func(t *testing.T) {
		measured{c: startPrograms(t, "sqlite", nodes...), ships: true}.run(nodes)
	})
	t.Run("Go program with a log", func(t *testing.T) {
		measured{c: startPrograms(t, "log", nodes...)}.run(nodes)
	})
}

// startFixed starts a whole cluster with the ledger as a process that has one port on every node, each of which has an address of its own.
func startFixed(t *testing.T, nodes ...string) *cluster {
	t.Helper()
	c, port := startServices(t), freePort(t)
	sites := map[string]string{}
	for i, n := range nodes {
		address := fmt.Sprintf("127.0.0.%d", i+1)
		p := c.agent(n, n, 10*time.Second)
		p.argv[slices.Index(p.argv, "--address")+1] = address
		c.spawn(p)
		sites[n] = fmt.Sprintf("http://%s:%d", address, port)
	}
	c.view(func(*projections.Cluster) { c.sites = sites })
	c.until("the nodes are ready", limit, func(v *projections.Cluster) bool { return ready(v, nodes...) })
	c.applyWhole("ledger", fmt.Sprintf(ledgerSpec, "ledger", binary, c.journal("ledger"))+
		strings.Replace(commonSpec, "ports: {http: 0}", fmt.Sprintf("ports: {http: %d}", port), 1))
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// measured is the ledger in a cluster, as its moves are measured.
type measured struct {
	c       *cluster
	process bool // the app is a program of its own: to stop and to start it is in the pause
	ships   bool // its data are files that are shipped and applied
}

// figures are what was measured, by name.
type figures map[string][]time.Duration

func (f figures) add(name string, d time.Duration) { f[name] = append(f[name], d) }

const (
	figPause  = "pause of writes"
	figTrip   = "request and answer"
	figHops   = "six stored hops"
	figFlush  = "one flush"
	figCatch  = "one catch-up"
	figLife   = "the app's own stop and start"
	figByHand = "by hand: stop, copy, start"
)

func (m measured) run(nodes []string) {
	const app = "ledger"
	c, t := m.c, m.c.t
	from, to := c.on(app)[0], nodes[0]
	if from == to {
		to = nodes[1]
	}
	// Clients know where the ledger may be, as a load balancer does, and ask there until it answers.
	everywhere := func() (all []string) {
		for _, n := range nodes {
			all = append(all, c.sites[n])
		}
		return all
	}
	clients := []*client{c.writerAt("a", everywhere), c.writerAt("b", everywhere)}
	clients[0].more()
	echo := c.echoes()
	floor, js := c.hopStream()
	f := figures{}
	h := http.Client{Timeout: 10 * time.Second}
	for i := range *moves {
		for _, w := range clients {
			w.pause()
		}
		id := c.moveLedger(app, from, to)
		clients[0].more()
		longest := clients[0].pause()
		if other := clients[1].pause(); other.took > longest.took {
			longest = other
		}
		f.add(figPause, longest.took)
		for part, d := range c.timeline(id, app+"-0", from, to, longest) {
			f.add(string(part), d)
		}
		for step, d := range c.stepsOf(id) {
			f.add(step, d)
		}
		if verdict, err := call[string](&h, http.MethodGet, c.base(app)+"/check"); err != nil || verdict != "ok" {
			t.Fatalf("after move %d: the check says %q, %v", i+1, verdict, err)
		}
		f.add(figTrip, c.roundTrip(echo))
		f.add(figHops, c.hops(floor, js))
		if i%5 == 0 && m.ships {
			flush, caughtUp := c.shipped(i, js)
			alone, hand := c.handMade(i)
			f.add(figFlush, flush)
			f.add(figCatch, caughtUp)
			f.add(figLife, alone)
			f.add(figByHand, hand)
		}
		from, to = to, from
	}
	acked := c.audits(app, false, clients...)
	t.Logf("%d planned moves, %d entries acknowledged, none lost, none twice, none out of order, the check ok after each", len(f[figPause]), acked)
	m.report(f)
}

// report logs what was measured, and how the pause compares with what it cannot do without.
func (m measured) report(f figures) {
	t := m.c.t
	say := func(indent, name string) { t.Logf("%-34s %s", indent+name, quantiles(f[name])) }
	say("", figPause)
	for _, part := range pauseParts {
		say("  ", string(part))
	}
	t.Logf("while the source serves:")
	say("  ", string(events.StepPrepare))
	say("  ", string(events.StepSync))
	say("  ", string(events.StepCatchUp))
	t.Logf("floors:")
	say("  ", figTrip)
	say("  ", figHops)
	pause, least, what := median(f[figPause]), median(f[figHops]), "six hops"
	aim := 20 * median(f[figTrip])
	if m.ships {
		say("  ", figFlush)
		say("  ", figCatch)
		say("  ", figLife)
		say("", figByHand)
		least, what = least+median(f[figFlush])+median(f[figCatch]), "six hops + flush + catch-up"
		aim += median(f[figFlush])
		t.Logf("pause p50 / by hand p50: %.2f", ratio(pause, median(f[figByHand])))
	}
	if m.process {
		own := median(f[figLife])
		t.Logf("pause p50 / (%s + the app's own stop and start): %.2f", what, ratio(pause, least+own))
		t.Logf("(pause - the app's own stop and start) p50 / (%s): %.2f", what, ratio(pause-own, least))
		return
	}
	t.Logf("pause p50 / (%s): %.2f", what, ratio(pause, least))
	t.Logf("pause p50 / (20 requests and answers, and a flush where there is one): %.2f", ratio(pause, aim))
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// stepsOf returns what each step of a migration took on its node, of those that have an event of their own.
func (c *cluster) stepsOf(id string) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, e := range c.stored(0) {
		if d, ok := e.Data.(*events.StepCompleted); ok && d.Migration == id {
			out[string(d.Step)] = time.Duration(d.TookMS) * time.Millisecond
		}
	}
	return out
}

// handMade runs the program without a cluster: how long it takes to stop it and start it again, and to stop it, copy its database to
// another directory and start it there.
func (c *cluster) handMade(i int) (own, copied time.Duration) {
	c.t.Helper()
	dirs := []string{filepath.Join(c.dir, fmt.Sprintf("hand-%d-a", i)), filepath.Join(c.dir, fmt.Sprintf("hand-%d-b", i))}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	p := c.alongside(dirs[0])
	began := time.Now()
	c.halt(p)
	p = c.alongside(dirs[0])
	own = time.Since(began)
	began = time.Now()
	c.halt(p)
	if err := copyFile(filepath.Join(dirs[1], "ledger.db"), filepath.Join(dirs[0], "ledger.db")); err != nil {
		c.t.Fatal(err)
	}
	p = c.alongside(dirs[1])
	copied = time.Since(began)
	c.halt(p)
	return own, copied
}

// alongside starts the ledger and returns when it has stored an entry.
func (c *cluster) alongside(dir string) *exec.Cmd {
	c.t.Helper()
	port := freePort(c.t)
	cmd := exec.Command(binary, "sample", "ledger")
	cmd.Env = append(os.Environ(), "GC_ADDRESS=127.0.0.1", "GC_PORT_HTTP="+strconv.Itoa(port), "GC_DATA_DIR="+dir, "CHAOS_DIR="+c.dir)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	h := http.Client{Timeout: time.Second}
	defer h.CloseIdleConnections()
	look := time.NewTicker(again) // as often as clients do
	defer look.Stop()
	for over := time.After(limit); ; {
		if _, err := call[any](&h, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/entries?writer=hand&n=1", port)); err == nil {
			return cmd
		}
		select {
		case <-look.C:
		case <-over:
			c.t.Fatalf("not within %s: the ledger answers", limit)
		}
	}
}

func (c *cluster) halt(cmd *exec.Cmd) {
	c.t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		c.t.Fatal(err)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return out.Close()
}

func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	d = slices.Sorted(slices.Values(d))
	at := func(q float64) time.Duration { return d[min(len(d)-1, int(q*float64(len(d))))] }
	parts := []string{}
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", .5}, {"p99", .99}} {
		parts = append(parts, fmt.Sprintf("%s %s", q.name, at(q.q).Round(10*time.Microsecond)))
	}
	return fmt.Sprintf("%s  max %s  n %d", strings.Join(parts, "  "), d[len(d)-1].Round(10*time.Microsecond), len(d))
}
