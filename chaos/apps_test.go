//go:build linux

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/examples/counter"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// The sample apps, as specs: name, binary, and then what is their own. Numbers come fast, so that a life that goes on for too long
// shows.
const (
	counterSpec = `name: %s
mode: singleton
process:
  command: [%s, sample, counter]
  stop_timeout: 5s
  env: {JOURNAL: %s, INTERVAL: 20ms}
`
	webSpec = `name: %s
mode: replicas
replicas: %d
process:
  command: [%s, sample, web]
  stop_timeout: 5s
`
	commonSpec = `ports: {http: 0}
health: {http: "http://$GC_ADDRESS:$GC_PORT_HTTP/health", interval: 200ms, healthy_after: 1}
migration: {step_timeout: 10s}
`
)

// applyCounter declares a singleton and returns the node that it runs on.
func (c *cluster) applyCounter(app string) string {
	c.t.Helper()
	c.apply(app, fmt.Sprintf(counterSpec, app, binary, c.journal(app)))
	return c.on(app)[0]
}

// applyWeb declares a pool and returns the nodes that it runs on.
func (c *cluster) applyWeb(app string, replicas int) []string {
	c.t.Helper()
	c.apply(app, fmt.Sprintf(webSpec, app, replicas, binary))
	return c.on(app)
}

func (c *cluster) apply(app, spec string) {
	c.t.Helper()
	file := filepath.Join(c.dir, app+".yaml")
	if err := os.WriteFile(file, []byte(spec+commonSpec+runAs()), 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.must("app", "apply", "-f", file)
	c.until(app+" runs", limit, func(v *projections.Cluster) bool { return runs(v, app) })
}

// runAs is what a spec needs where the agent is root.
func runAs() string {
	if os.Geteuid() == 0 {
		return "user: root\n"
	}
	return ""
}

// runs says whether the app is as declared and nothing moves.
func runs(v *projections.Cluster, app string) bool {
	a := v.Apps[app]
	if a == nil || len(a.Open) > 0 || a.Pending != nil || len(a.Instances) != a.Desired() {
		return false
	}
	for _, in := range a.Instances {
		if in.State != api.InstanceRunning || !in.Healthy {
			return false
		}
	}
	return true
}

// on returns where an app's instances are, ordered by instance.
func (c *cluster) on(app string) (nodes []string) {
	c.view(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil {
			for _, in := range a.SortedInstances() {
				nodes = append(nodes, in.Node)
			}
		}
	})
	return nodes
}

// living returns the processes of an app, wherever they are.
func (c *cluster) living(app string) (out []seen) {
	for _, p := range processesOf(c.dir) {
		if p.getenv("GC_APP") == app && p.getenv("GC_DATA_DIR") != "" {
			out = append(out, p)
		}
	}
	return out
}

// serves waits until every instance of the app answers where the log says it is, and as many processes live as there should be.
func (c *cluster) serves(app string) {
	c.t.Helper()
	why := ""
	ok := within(c.t, limit, func() bool {
		var want []projections.Instance
		calm := false
		c.view(func(v *projections.Cluster) {
			if calm = runs(v, app); calm {
				for _, in := range v.Apps[app].SortedInstances() {
					want = append(want, *in)
				}
			}
		})
		if !calm {
			why = "the log does not have it running"
			return false
		}
		if living := c.living(app); len(living) != len(want) {
			why = fmt.Sprintf("%d instances, and these processes:\n%s", len(want), describe(living))
			return false
		}
		for _, in := range want {
			if err := answers(in.Address, in.Ports["http"], in.Node); err != nil {
				why = fmt.Sprintf("%s: %v", in.ID, err)
				return false
			}
		}
		return true
	})
	if !ok {
		c.t.Fatalf("%s does not serve after %s: %s", app, limit, why)
	}
}

// answers says why an instance does not, with a connection of its own.
func answers(address string, port int, node string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(address, strconv.Itoa(port))+"/health", nil)
	if err != nil {
		return err
	}
	rep, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("on %s: %w", node, err)
	}
	defer func() { _ = rep.Body.Close() }()
	if rep.StatusCode != http.StatusOK {
		return fmt.Errorf("on %s: %s", node, rep.Status)
	}
	return nil
}

func (c *cluster) journal(app string) string { return filepath.Join(c.dir, app+".journal") }

// life is one process as its journal shows it. Times are CLOCK_BOOTTIME.
type life struct {
	node        string
	epoch       uint64
	pid         int
	first, last time.Duration
	lines       int
}

func (l life) String() string {
	return fmt.Sprintf("%s epoch %d pid %d from %s to %s, %d lines", l.node, l.epoch, l.pid, l.first, l.last, l.lines)
}

// lives reads a journal: what each process of a singleton has written, in the order of the file.
func lives(t testing.TB, journal string) (all []life, numbers []uint64) {
	t.Helper()
	b, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l counter.Line
		if json.Unmarshal(line, &l) != nil || line[len(line)-1] != '\n' {
			continue // its writer was killed, and nobody has seen the number
		}
		numbers = append(numbers, l.N)
		at := time.Duration(l.Boottime)
		if n := len(all); n > 0 && all[n-1].pid == l.PID && all[n-1].epoch == l.Epoch && all[n-1].node == l.Node {
			all[n-1].first, all[n-1].last = min(all[n-1].first, at), max(all[n-1].last, at)
			all[n-1].lines++
			continue
		}
		all = append(all, life{node: l.Node, epoch: l.Epoch, pid: l.PID, first: at, last: at, lines: 1})
	}
	return all, numbers
}

// alone checks by its journal that a singleton never ran twice at a time and lost no number: lives follow each other, each on
// another node under a higher epoch, and the numbers have no gap.
func (c *cluster) alone(app string) { aloneIn(c.t, c.journal(app)) }

func aloneIn(t testing.TB, journal string) {
	t.Helper()
	all, numbers := lives(t, journal)
	bad := false
	fail := func(format string, args ...any) { t.Errorf(format, args...); bad = true }
	for i, n := range numbers {
		if n != uint64(i+1) {
			fail("number %d is at position %d", n, i+1)
			break
		}
	}
	for i := 1; i < len(all); i++ {
		was, is := all[i-1], all[i]
		switch {
		case is.first <= was.last:
			fail("two lives overlap: %s, and %s", was, is)
		case is.epoch < was.epoch, is.epoch == was.epoch && is.node != was.node:
			fail("the epoch does not rise: %s, then %s", was, is)
		}
	}
	if bad {
		var b strings.Builder
		for _, l := range all {
			fmt.Fprintln(&b, l)
		}
		t.Logf("lives in %s:\n%s", filepath.Base(journal), b.String())
	}
}

// writes waits until the app goes on writing its journal.
func (c *cluster) writes(app string) {
	c.t.Helper()
	now := transport.Boottime()
	until(c.t, app+" goes on with its journal", limit, func() bool {
		all, _ := lives(c.t, c.journal(app))
		return len(all) > 0 && all[len(all)-1].last > now
	})
}
