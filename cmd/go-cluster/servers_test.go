//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

// The test binary is also what it starts: watchdogs, sample apps, and a dev cluster that gets killed.
func init() {
	if len(os.Args) > 1 && (os.Args[1] == "watchdog" || os.Args[1] == "sample" || os.Args[1] == "dev") {
		os.Exit(run(interruptible(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
}

func TestServerCommandLines(t *testing.T) {
	for _, line := range []string{
		"serve", "serve all", "serve planner migrator --replicas 3 --no-bootstrap", "serve auditor --http-addr :0 --replica r1 --log-level debug --log-format json",
		"agent --node node-1", "agent --node node-1 --label zone=a --label role=storage --address db.example --lease-ttl 3s --data-dir d --http-addr :0",
		"dev", "dev --nodes 5 --nats-port 0 --http-port=-1 --no-demo --data-dir d --lease-ttl 5s -v", "dev --nats nats://h:4222 --cluster x",
	} {
		if _, _, err := parse(t, strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for line, want := range map[string]string{
		"serve mover":                             `"mover" is no service`,
		"serve all mover":                         `"mover" is no service`,
		"serve --replicas 2":                      "want 1 or 3",
		"serve --replica A.b":                     "--replica: replica name",
		"serve --http-addr 7070":                  "want HOST:PORT",
		"serve --log-level loud":                  "unrecognized level",
		"serve --log-format xml":                  "must be one of",
		"agent":                                   "missing flags: --node=ID",
		"agent --node N":                          "--node: node name",
		"agent --node n --label zone":             "--label: ",
		"agent --node n --label zone-":            "zone-: want key=value",
		"agent --node n --label go-cluster.io/x=": "--label: ",
		"agent --node n --lease-ttl 2s":           "want at least 3s",
		"agent --node n --address http://h":       "want a host name or an IP address",
		"dev --nodes 0":                           "want 1 to 64",
		"dev --nodes 65":                          "want 1 to 64",
		"dev --nats-port 65536":                   "--nats-port 65536",
		"dev --http-port=-2":                      "--http-port -2",
		"dev --nats h":                            "want a URL",
		"dev --lease-ttl 1s":                      "want at least 3s",
		"sample cat":                              "must be one of",
	} {
		if _, _, err := parse(t, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", line, err, want)
		}
	}
}

func TestServersWantWhatTheyCannotGuess(t *testing.T) {
	for line, want := range map[string]string{
		"serve all --http-addr :0":                                         "serve: of which cluster?",
		"agent --node n --http-addr :0":                                    "agent: of which cluster?",
		"agent --node n --cluster A --http-addr :0":                        "--cluster: cluster name",
		"serve --timeout 1s --cluster c":                                   "serve runs until it is told to stop",
		"dev --timeout 1s":                                                 "dev runs until it is told to stop",
		"agent --node n --timeout 1s --cluster c":                          "agent runs until it is told to stop",
		"dev --server nats://ana:secret@h:4222":                            "--server …@h:4222: dev has a NATS server of its own; for another one want --nats URL",
		"dev --cluster A --nats-port 0 --http-port 0":                      "--cluster: cluster name",
		"dev --data-dir /dev/null --nats-port 0":                           "data directory: ",
		"agent --node n --cluster c --data-dir /dev/null/x --http-addr :0": "data directory: ",
	} {
		cli(t.Context(), "", strings.Fields(line)...).want(t, exitUsage, "", want)
	}
}

func TestChosenServices(t *testing.T) {
	for args, want := range map[string]string{
		"":                 "labeler planner migrator rebalancer auditor",
		"all":              "labeler planner migrator rebalancer auditor",
		"planner all":      "labeler planner migrator rebalancer auditor",
		"migrator planner": "planner migrator",
		"auditor auditor":  "auditor",
	} {
		got, err := chosenServices(strings.Fields(args))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v; want %s", args, got, err, want)
		}
	}
}

func TestReplicaNamesDiffer(t *testing.T) {
	a, b := replicaName(), replicaName()
	if a == b || !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$`).MatchString(a) {
		t.Errorf("%q, %q", a, b)
	}
}

// A service on its own and a node's agent, as they run in production, on a NATS server of their own.
func TestServeAndAgent(t *testing.T) {
	at := func(command string, args ...string) []string {
		return append([]string{command, "--server", server.ClientURL(), "--cluster", "served", "--http-addr", "127.0.0.1:0"}, args...)
	}
	control := start(t, at("serve", "labeler", "planner", "migrator", "rebalancer")...)
	auditor := start(t, at("serve", "auditor")...)
	for _, p := range []*running{control, auditor} {
		awaitTrue(t, p.probe+" ready", func() bool { _, status := p.get(t, "/readyz"); return status == http.StatusOK })
	}
	// What describes the cluster comes from the auditor alone; otherwise a sum over all processes counts everything twice.
	if body, _ := control.get(t, "/metrics"); strings.Contains(body, "gc_migrations_in_progress") || !strings.Contains(body, `gc_build_info{cluster="served"`) {
		t.Errorf("metrics of the other services:\n%s", body)
	}
	if body, _ := auditor.get(t, "/metrics"); !strings.Contains(body, "gc_events_total") {
		t.Errorf("metrics of the auditor:\n%s", body)
	}

	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	node := start(t, at("agent", "--node", "node-7", "--data-dir", dir, "--label", "zone=a", "--lease-ttl", "3s")...)
	ask := []string{"--server", server.ClientURL(), "--cluster", "served", "-o", "json"}
	var nodes []api.NodeView
	awaitTrue(t, "node-7 ready", func() bool {
		o := cli(t.Context(), "", append(ask, "node", "list")...)
		if o.code != exitDone {
			return false
		}
		nodes = decode[[]api.NodeView](t, o.out)
		return len(nodes) == 1 && nodes[0].Status == api.NodeReady && nodes[0].Labels["zone"] == "a"
	})
	if n := nodes[0]; n.ID != "node-7" || n.Address != "127.0.0.1" || n.Capacity.CPU <= 0 || n.Capacity.Memory <= 0 || n.Version == "" {
		t.Errorf("node %+v", n)
	}
	if info, err := os.Stat(filepath.Dir(dir)); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("directory above the node's: %v, %v; apps of other users must pass", info, err)
	}
	cli(t.Context(), "", at("agent", "--node", "node-7", "--data-dir", t.TempDir())...).want(t, exitError, "", "node node-7 is held by another agent")
	cli(t.Context(), "", at("agent", "--node", "node-7", "--data-dir", dir)...).want(t, exitError, "", "is used by another agent")
	node.stop(t, exitDone)
	cli(t.Context(), "", at("agent", "--node", "node-8", "--data-dir", dir)...).want(t, exitError, "", "belongs to node node-7 of cluster served")
	control.stop(t, exitDone)
	auditor.stop(t, exitDone)
}

func TestServeWithoutStreams(t *testing.T) {
	cli(t.Context(), "", "--server", server.ClientURL(), "--cluster", "nothing", "serve", "--no-bootstrap", "--http-addr", "127.0.0.1:0").
		want(t, exitError, "", "cluster nothing has no streams", "without --no-bootstrap")
}

// running is a long-running command line in this process.
type running struct {
	line   string
	out    *lines
	errors *lines
	probe  string // where it answers HTTP
	ended  chan int
	cancel context.CancelFunc
}

// start runs a command line and returns once it has said where it answers HTTP.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &running{line: strings.Join(args, " "), out: &lines{}, errors: &lines{}, ended: make(chan int, 1), cancel: cancel}
	go func() { p.ended <- run(ctx, args, strings.NewReader(""), p.out, p.errors) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("%s\n%s", p.line, p.errors)
		}
	})
	where := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	awaitTrue(t, p.line, func() bool {
		select {
		case code := <-p.ended:
			t.Fatalf("%s ended with %d:\n%s", p.line, code, p.errors)
		default:
		}
		p.probe = where.FindString(p.out.String() + p.errors.String())
		return p.probe != ""
	})
	return p
}

func (p *running) stop(t *testing.T, want int) {
	t.Helper()
	p.cancel()
	select {
	case code := <-p.ended:
		if code != want {
			t.Errorf("%s ended with %d, want %d:\n%s", p.line, code, want, p.errors)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not stop:\n%s", p.line, p.errors)
	}
}

func (p *running) get(t *testing.T, path string) (body string, status int) {
	t.Helper()
	r, err := http.Get(p.probe + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r.StatusCode
}

// lines is a writer for several goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func awaitTrue(t *testing.T, what string, f func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	late := time.After(30 * time.Second)
	for !f() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("waited too long: %s", what)
		}
	}
}
