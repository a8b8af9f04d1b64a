//go:build linux

package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	json "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/examples/journal"
)

func TestDevStartsAndStops(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")) // dev puts a directory before it
	dir := t.TempDir()
	dev := start(t, "dev", "--nodes", "2", "--nats-port", "0", "--http-port", "0", "--data-dir", dir, "--lease-ttl", "5s")
	ready := regexp.MustCompile(`^ready nats=(nats://127\.0\.0\.1:\d+) http=http://127\.0\.0\.1:\d+ cluster=dev\n$`)
	if _, status := dev.get(t, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	cluster := devAt{t, natsOf(dev.out.String())}
	nodes := ask[[]api.NodeView](cluster, "node", "list")
	if len(nodes) != 2 || nodes[0].Status != api.NodeReady || nodes[1].Status != api.NodeReady || nodes[0].Address != "127.0.0.1" {
		t.Errorf("nodes %+v", nodes)
	}
	cluster.awaitRunning("counter", "web")
	cli(t.Context(), "", "dev", "--nats-port", "0", "--http-port", "0", "--data-dir", dir).want(t, exitUsage, "", "is used by another go-cluster dev")

	// The move that everybody tries first.
	from := ask[api.AppDetail](cluster, "app", "show", "counter").Nodes[0]
	if o := cluster.cli("node", "label", from, "maintenance=true", "--wait"); o.code != exitDone {
		t.Errorf("label: %+v", o)
	}
	if to := ask[api.AppDetail](cluster, "app", "show", "counter").Nodes; len(to) != 1 || to[0] == from {
		t.Errorf("counter runs on %v, was on %s", to, from)
	}

	dev.stop(t, exitDone)
	m := ready.FindStringSubmatch(dev.out.String())
	if m == nil || m[1] != cluster.nats {
		t.Errorf("stdout %q, want one line that says where", dev.out)
	}
	for _, instance := range instancesIn(t, dir) {
		if held, err := watchdog.Held(instance); err != nil || held {
			t.Errorf("%s runs still: %v, %v", instance, held, err)
		}
	}
	checkCounted(t, dir)

	// The same directory again: what was is still there, and a sample that was removed stays away.
	dev = start(t, "dev", "--nodes", "2", "--nats-port", "0", "--http-port", "0", "--data-dir", dir)
	cluster.nats = natsOf(dev.out.String())
	cluster.awaitRunning("counter", "web")
	if o := cluster.cli("app", "remove", "web"); o.code != exitDone {
		t.Errorf("remove: %+v", o)
	}
	dev.stop(t, exitDone)
	dev = start(t, "dev", "--nodes", "2", "--nats-port", "0", "--http-port", "0", "--data-dir", dir)
	cluster.nats = natsOf(dev.out.String())
	cluster.awaitRunning("counter")
	dev.stop(t, exitDone)
	checkCounted(t, dir)
}

// kill -9 in the middle of a move: apps that nobody moves run on and are taken over, and the move ends.
func TestDevIsKilled(t *testing.T) {
	dir := t.TempDir()
	args := []string{"dev", "--nodes", "2", "--nats-port", "0", "--http-port", "0", "--data-dir", dir}
	first, at := spawn(t, args...)
	cluster := devAt{t, at}
	cluster.awaitRunning("counter", "web")
	awaitTrue(t, "something is counted", func() bool {
		st, err := os.Stat(filepath.Join(dir, "counter.journal"))
		return err == nil && st.Size() > 0
	})
	before := pids(t, dir, "web")
	if o := cluster.cli("app", "move", "counter", "--detach"); o.code != exitDone {
		t.Fatalf("move: %+v", o)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()

	second, at := spawn(t, args...)
	cluster.nats = at
	cluster.awaitRunning("counter", "web")
	if after := pids(t, dir, "web"); !cmp.Equal(before, after) || len(after) != 2 {
		t.Errorf("processes of web: %v before, %v after", before, after)
	}
	for _, m := range ask[[]api.MigrationView](cluster, "migration", "list") {
		if m.Status != api.MigrationCompleted && m.Status != api.MigrationFailed {
			t.Errorf("migration %+v", m)
		}
	}
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("dev after SIGINT: %v", err)
	}
	checkCounted(t, dir)
}

// spawn starts dev in a process of its own and returns it with the address of its NATS server once it is ready.
func spawn(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	errors := &lines{}
	cmd.Stderr = errors
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if t.Failed() {
			t.Logf("dev:\n%s", errors)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("no ready line: %v\n%s", err, errors)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return cmd, natsOf(line)
}

var natsURL = regexp.MustCompile(`nats://127\.0\.0\.1:\d+`)

func natsOf(text string) string { return natsURL.FindString(text) }

// devAt asks a dev cluster as a person would: by the address of its server alone.
type devAt struct {
	t    *testing.T
	nats string
}

func (d devAt) cli(args ...string) outcome {
	d.t.Helper()
	return cli(d.t.Context(), "", append([]string{"--server", d.nats}, args...)...)
}

func ask[T any](d devAt, args ...string) T {
	d.t.Helper()
	o := d.cli(append([]string{"-o", "json"}, args...)...)
	if o.code != exitDone {
		d.t.Fatalf("%v: %+v", args, o)
	}
	return decode[T](d.t, o.out)
}

// awaitRunning returns when exactly these apps run and nothing is under way.
func (d devAt) awaitRunning(names ...string) {
	d.t.Helper()
	awaitTrue(d.t, strings.Join(names, " and ")+" running", func() bool {
		apps := ask[[]api.AppView](d, "app", "list")
		for _, a := range apps {
			if a.State != api.AppRunning || a.Running != a.Desired {
				return false
			}
		}
		for _, m := range ask[[]api.MigrationView](d, "migration", "list") {
			if m.Status == api.MigrationPlanned || m.Status == api.MigrationRunning {
				return false
			}
		}
		return len(apps) == len(names)
	})
}

func instancesIn(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "nodes", "*", "process", "instances", "*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no instances below %s: %v", dir, err)
	}
	return found
}

// pids returns the process of each running instance of an app, by its directory.
func pids(t *testing.T, dir, app string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, instance := range instancesIn(t, dir) {
		held, err := watchdog.Held(instance)
		if err != nil {
			t.Fatal(err)
		}
		if !held || !strings.HasPrefix(filepath.Base(instance), app+"-") {
			continue
		}
		st, err := watchdog.ReadState(instance)
		if err != nil {
			t.Fatal(err)
		}
		out[instance] = st.App.PID
	}
	return out
}

// checkCounted judges the counter's journal: no number twice, none missing, and no two processes under one epoch.
func checkCounted(t *testing.T, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "counter.journal"))
	if err != nil {
		t.Fatal(err)
	}
	var before journal.Line
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var l journal.Line
		if json.Unmarshal(s.Bytes(), &l) != nil {
			continue // torn by a kill
		}
		if l.N != before.N+1 || l.Boottime <= before.Boottime || l.Epoch < before.Epoch || l.PID != before.PID && l.Epoch == before.Epoch {
			t.Errorf("%+v after %+v", l, before)
		}
		before = l
	}
	if before.N == 0 {
		t.Error("nothing was counted")
	}
}
