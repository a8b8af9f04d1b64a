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

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/events"
)

var moves = flag.Int("chaos.moves", 10, "planned moves of TestSwitchover")

// Planned moves under steady writes, one after the other: what clients see of them, beside what could not be less on this machine at the
// same time, and beside what somebody does by hand who has nothing of this.
func TestSwitchover(t *testing.T) {
	const app = "ledger"
	c := start(t, 10*time.Second, "n1", "n2")
	from, to := c.applyLedger(app), "n1"
	if from == to {
		to = "n2"
	}
	clients := []*client{c.writer(app, "a"), c.writer(app, "b")}
	clients[0].more()
	var pauses, trips, lives, byHand []time.Duration
	parts := map[string][]time.Duration{}
	h := http.Client{Timeout: 10 * time.Second}
	for i := range *moves {
		for _, w := range clients {
			w.pause()
		}
		id := c.moveLedger(app, from, to)
		clients[0].more()
		pauses = append(pauses, max(clients[0].pause(), clients[1].pause()))
		for step, d := range c.stepsOf(id) {
			parts[step] = append(parts[step], d)
		}
		if verdict, err := call[string](&h, http.MethodGet, c.base(app)+"/check"); err != nil || verdict != "ok" {
			t.Fatalf("after move %d: integrity_check: %q, %v", i+1, verdict, err)
		}
		trips = append(trips, c.roundTrip())
		if i%10 == 0 {
			alone, hand := c.handMade(i)
			lives, byHand = append(lives, alone), append(byHand, hand)
		}
		from, to = to, from
	}
	acked := c.audits(app, false, clients...)
	t.Logf("%d planned moves, %d entries acknowledged, none lost, none twice, none out of order, integrity_check ok after each", len(pauses), acked)
	t.Logf("%-34s %s", "pause of writes", quantiles(pauses))
	for _, step := range []string{"prepare", "sync", "catch_up", "step_down", "apply", "persist", "activate"} {
		t.Logf("%-34s %s", "  "+step, quantiles(parts[step]))
	}
	t.Logf("%-34s %s", "round trip to NATS", quantiles(trips))
	t.Logf("%-34s %s", "the app's own stop and start", quantiles(lives))
	t.Logf("%-34s %s", "by hand: stop, copy, start", quantiles(byHand))
}

// stepsOf returns what each step of a migration took on its node.
func (c *cluster) stepsOf(id string) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, e := range c.stored(0) {
		switch d := e.Data.(type) {
		case *events.StepCompleted:
			if d.Migration == id {
				out[string(d.Step)] = time.Duration(d.TookMS) * time.Millisecond
			}
		case *events.LeadershipGranted:
			if d.Migration == id && d.Result != nil {
				out["apply"] = time.Duration(d.Result.TookMS) * time.Millisecond
			}
		case *events.MigrationCompleted:
			if d.Migration == id && d.Result != nil && d.Step == events.StepActivate {
				out["activate"] = time.Duration(d.Result.TookMS) * time.Millisecond
			}
		}
	}
	return out
}

func (c *cluster) roundTrip() time.Duration {
	c.t.Helper()
	began := time.Now()
	if err := c.nc.FlushTimeout(5 * time.Second); err != nil && err != nats.ErrTimeout {
		c.t.Fatal(err)
	}
	return time.Since(began)
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	cmd := exec.Command(binary, "sample", "ledger")
	cmd.Env = append(os.Environ(), "GC_ADDRESS=127.0.0.1", "GC_PORT_HTTP="+strconv.Itoa(port), "GC_DATA_DIR="+dir, "CHAOS_DIR="+c.dir)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	h := http.Client{Timeout: time.Second}
	until(c.t, "the ledger answers", limit, func() bool {
		_, err := call[any](&h, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/entries?writer=hand&n=1", port))
		return err == nil
	})
	h.CloseIdleConnections()
	return cmd
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
