//go:build linux

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

const (
	name     = "chaos"          // of each cluster; each has a NATS server of its own
	ttl      = 3 * time.Second  // of leases: the least that agents take
	calm     = 15 * time.Second // of leases, where nobody is lost: a busy machine is not to lose somebody either
	keptMark = "kept"           // file in a directory that is not removed
	limit    = 90 * time.Second
)

var serviceNames = []string{events.Labeler, events.Planner, events.Migrator, events.Rebalancer, events.Auditor}

// cluster is a real one: each part is a process. Its methods fail the test instead of returning errors, but for those that say so.
type cluster struct {
	t        *testing.T
	dir      string
	url      string // of NATS; stays the same when the server is started again
	lan      *lan   // nil: everything is on this machine's own network
	procs    []*process
	sites    map[string]string // where the programs of nodes answer that have their app in them
	nc       *nats.Conn        // the watcher's own
	subjects events.Subjects
	stop     context.CancelFunc
	watching sync.WaitGroup

	mu   sync.Mutex
	fold *projections.Cluster
	log  []events.Event
}

// newDir makes a directory of the test. At the end everything that was started from there is killed, and has to be gone.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(root, pathName(t.Name())+"-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := killAll(dir); err != nil {
			t.Error(err)
		}
		if t.Failed() && *keep {
			_ = os.WriteFile(filepath.Join(dir, keptMark), nil, 0o600)
			t.Logf("kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// start starts a whole cluster with the nodes and waits until they are ready.
func start(t *testing.T, leaseTTL time.Duration, nodes ...string) *cluster {
	t.Helper()
	c := startServices(t)
	for _, n := range nodes {
		c.spawn(c.agent(n, n, leaseTTL))
	}
	c.until("the nodes are ready", limit, func(v *projections.Cluster) bool { return ready(v, nodes...) })
	return c
}

// startServices starts a cluster without nodes.
func startServices(t *testing.T) *cluster {
	t.Helper()
	c := open(t, newDir(t))
	c.startNATS()
	c.connect(c.url)
	for _, s := range serviceNames {
		c.spawn(c.service(s))
	}
	return c
}

func open(t *testing.T, dir string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: dir, fold: projections.NewCluster(name), stop: func() {}}
	var err error
	if c.subjects, err = events.NewSubjects(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.unharmed()
		if t.Failed() {
			c.dump()
		}
		c.stop()
		if c.nc != nil {
			c.nc.Close()
		}
		c.watching.Wait()
	})
	return c
}

func ready(v *projections.Cluster, nodes ...string) bool {
	for _, n := range nodes {
		if v.Nodes[n] == nil || v.Nodes[n].Status != projections.StatusReady {
			return false
		}
	}
	return true
}

// spawn starts a process of the cluster.
func (c *cluster) spawn(p *process) *process {
	c.t.Helper()
	p.log = filepath.Join(c.dir, p.name+".log")
	c.procs = append(c.procs, p)
	c.restart(p)
	return p
}

func (c *cluster) restart(p *process) {
	c.t.Helper()
	if err := p.start(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) proc(name string) *process {
	c.t.Helper()
	for _, p := range c.procs {
		if p.name == name {
			return p
		}
	}
	c.t.Fatalf("no process %s", name)
	return nil
}

func (c *cluster) startNATS() {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	store := filepath.Join(c.dir, "nats-store")
	p := &process{name: "nats", argv: []string{self, store, "0"}, env: []string{roleVariable + "=" + roleNATS}}
	c.spawn(p)
	until(c.t, "NATS listens", limit, func() bool {
		b, _ := os.ReadFile(p.log)
		_, after, _ := strings.Cut(string(b), natsReady)
		line, _, whole := strings.Cut(after, "\n")
		c.url = line
		return whole
	})
	u, err := url.Parse(c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	p.argv[2] = u.Port()
}

func (c *cluster) service(s string) *process {
	return &process{name: s, argv: []string{binary, "serve", s, "--cluster", name, "--server", c.url, "--http-addr", "127.0.0.1:0"}, env: c.mark()}
}

// agent is the agent of a node; its data directory is named separately, for one that must not have it.
func (c *cluster) agent(node, dataDir string, leaseTTL time.Duration) *process {
	return &process{name: "agent-" + dataDir, env: c.mark(), argv: []string{binary, "agent", "--cluster", name, "--node", node, "--server", c.url,
		"--data-dir", filepath.Join(c.dir, "nodes", dataDir), "--lease-ttl", leaseTTL.String(), "--http-addr", "127.0.0.1:0", "--address", "127.0.0.1"}}
}

// mark lets processesOf find a process whose arguments do not name the directory.
func (c *cluster) mark() []string { return []string{"CHAOS_DIR=" + c.dir} }

// connect follows the event log.
func (c *cluster) connect(url string) {
	c.t.Helper()
	c.url = url
	var err error
	if c.lan != nil {
		c.nc, err = nats.Connect(url, nats.SetCustomDialer(c.lan.dialer(lanClient)), nats.MaxReconnects(-1))
	} else {
		c.nc, err = transport.Connect(transport.ConnectOptions{Servers: url, Name: "chaos"})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	c.watching.Go(func() { c.follow(ctx) })
}

func (c *cluster) follow(ctx context.Context) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		_ = c.followOnce(ctx) // until the stream is there, and again after an outage
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

func (c *cluster) followOnce(ctx context.Context) error {
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	log, err := events.Open(try, js, c.subjects, time.Now)
	if err != nil {
		return err
	}
	c.mu.Lock()
	from := c.fold.Seq + 1
	c.mu.Unlock()
	return log.Follow(ctx, from, nil, func(m events.Message) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fold.Apply(m)
		if m.Err != nil {
			return m.Err
		}
		c.log = append(c.log, m.Event)
		return nil
	})
}

// view shows the fold of the log.
func (c *cluster) view(f func(v *projections.Cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.fold)
}

// until waits for the log to say something.
func (c *cluster) until(what string, limit time.Duration, cond func(v *projections.Cluster) bool) {
	c.t.Helper()
	until(c.t, what, limit, func() (ok bool) {
		c.view(func(v *projections.Cluster) { ok = cond(v) })
		return ok
	})
}

// stored returns the events after a sequence.
func (c *cluster) stored(after uint64) []events.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, _ := slices.BinarySearchFunc(c.log, after+1, func(e events.Event, seq uint64) int { return int(e.Seq) - int(seq) })
	return slices.Clone(c.log[i:])
}

func (c *cluster) seq() (seq uint64) {
	c.view(func(v *projections.Cluster) { seq = v.Seq })
	return seq
}

// onEvent calls f once, as soon as a message of the type passes by on its way to the log, about the app if one is given. It may be
// refused there yet: that is the earliest moment at which anybody knows of it.
func (c *cluster) onEvent(typ events.Type, app string, f func()) {
	c.t.Helper()
	var once sync.Once
	sub, err := c.nc.Subscribe(c.subjects.Events(), func(m *nats.Msg) {
		at, err := events.ParseEventSubject(m.Subject)
		if err == nil && at.Type == typ && (at.Aggregate == events.App(app) || at.Aggregate == events.Cluster(name)) {
			once.Do(f)
		}
	})
	if err == nil {
		err = c.nc.Flush()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = sub.Unsubscribe() })
}

// result is how a command line ended.
type result struct {
	code     int
	out, err string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.out, r.err)
}

func (c *cluster) argv(args ...string) []string {
	return append([]string{binary, "--server", c.url, "--cluster", name}, args...)
}

// cli runs a command line against the cluster. It fails the test only when the command cannot be run or does not end.
func (c *cluster) cli(args ...string) result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	defer cancel()
	argv := c.argv(args...)
	if c.lan != nil {
		argv = c.lan.argv(lanClient, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), c.mark()...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var code *exec.ExitError
	if err != nil && !errors.As(err, &code) || ctx.Err() != nil {
		c.t.Errorf("go-cluster %s: %v %v\n%s%s", strings.Join(args, " "), err, ctx.Err(), out.String(), errs.String())
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

// must runs a command line that has to succeed.
func (c *cluster) must(args ...string) result {
	c.t.Helper()
	r := c.cli(args...)
	if r.code != 0 {
		c.t.Fatalf("go-cluster %s: %s", strings.Join(args, " "), r)
	}
	return r
}

// ask runs a command line with -o json and reads its output. What the type does not know is ignored.
func ask[T any](c *cluster, args ...string) T {
	c.t.Helper()
	r := c.must(append(args, "-o", "json")...)
	var v T
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		c.t.Fatalf("go-cluster %s: %v in %s", strings.Join(args, " "), err, r.out)
	}
	return v
}

// unharmed checks that no process has ended by a fault of its own, whatever was done to it.
func (c *cluster) unharmed() {
	for _, p := range c.procs {
		b, err := os.ReadFile(p.log)
		if err != nil {
			c.t.Error(err)
		}
		for _, word := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if i := bytes.Index(b, []byte(word)); i >= 0 {
				c.t.Errorf("%s: %s", p.name, b[i:min(len(b), i+6000)])
			}
		}
	}
}

// dump prints what happened.
func (c *cluster) dump() {
	var b strings.Builder
	for _, e := range c.stored(0) {
		data, _ := json.Marshal(e.Data, json.Deterministic(true))
		fmt.Fprintf(&b, "%4d %s %s/%s %s by %s %s\n", e.Seq, e.Stored.Local().Format("15:04:05.000"), e.Type, e.App, e.Node, e.Actor, data)
	}
	c.t.Logf("log of the cluster:\n%s", b.String())
	files, _ := filepath.Glob(filepath.Join(c.dir, "*.log"))
	dogs, _ := filepath.Glob(filepath.Join(c.dir, "nodes", "*", "process", "instances", "*", "watchdog.log"))
	apps, _ := filepath.Glob(filepath.Join(c.dir, "nodes", "*", "process", "instances", "*", "log", "current"))
	for _, f := range slices.Concat(files, dogs, apps) {
		if text, err := os.ReadFile(f); err == nil && len(text) > 0 {
			text = text[max(0, len(text)-12<<10):]
			c.t.Logf("== %s\n%s", strings.TrimPrefix(f, c.dir+"/"), text)
		}
	}
	c.t.Logf("processes:\n%s", describe(processesOf(c.dir)))
}
