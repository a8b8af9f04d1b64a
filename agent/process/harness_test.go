//go:build linux

package process

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap/zaptest"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

// patience bounds every wait of the tests; a wait that is over earlier ends earlier.
const patience = 30 * time.Second

type harness struct {
	*Driver
	t       *testing.T
	changed chan struct{}
}

// open returns a driver on dir that has adopted. What it runs is killed when the test ends.
func open(t *testing.T, dir string, change ...func(*Options)) *harness {
	t.Helper()
	opts := Options{
		Dir: dir, WatchdogCommand: watchdogCommand(), AllowRoot: true,
		Logger: zaptest.NewLogger(t),
	}
	for _, f := range change {
		f(&opts)
	}
	d, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{Driver: d, t: t, changed: make(chan struct{}, 1)}
	d.Notify(func(string) {
		select {
		case h.changed <- struct{}{}:
		default:
		}
	})
	if _, err := d.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.ctx.Err() != nil { // closed by the test, and adopted by a later driver of it
			return
		}
		for _, st := range d.List() {
			if err := d.Kill(st.ID); err != nil {
				t.Error(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// testInstance is a pool member that runs `app args…` of this binary.
func testInstance(id string, args ...string) agent.Instance {
	return agent.Instance{
		ID: id, Node: "node-1", Address: "127.0.0.1", Role: "member", Epoch: 7, Generation: 1,
		App: spec.App{
			Name:    strings.TrimRight(id, "-0123456789"),
			Mode:    spec.Replicas,
			Process: &spec.Process{Command: append([]string{os.Args[0], "app"}, args...)},
			Restart: spec.Restart{Attempts: new(0)},
		},
	}
}

func (h *harness) start(i agent.Instance) agent.Status {
	h.t.Helper()
	st, err := h.Start(h.t.Context(), i)
	if err != nil {
		h.t.Fatal(err)
	}
	return st
}

// await waits until the status of an instance is as wanted.
func (h *harness) await(id, what string, wanted func(agent.Status) bool) agent.Status {
	h.t.Helper()
	late := time.After(patience)
	for {
		st, ok := h.Status(id)
		if ok && wanted(st) {
			return st
		}
		select {
		case <-h.changed:
		case <-late:
			h.t.Fatalf("%s: waited for %s, is %+v", id, what, st)
		}
	}
}

func (h *harness) awaitState(id string, s agent.State) agent.Status {
	h.t.Helper()
	return h.await(id, string(s), func(st agent.Status) bool { return st.State == s })
}

// awaitLines follows the log until n lines with the prefix have come, and returns what follows the prefix.
func (h *harness) awaitLines(id, prefix string, n int) []string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(h.Logs(ctx, id, -1, true, w)) }()
	defer func() { _ = r.Close() }()
	var found []string
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			if found = append(found, strings.TrimSpace(rest)); len(found) == n {
				return found
			}
		}
	}
	h.t.Fatalf("%s: %d of %d lines %q", id, len(found), n, prefix)
	return nil
}

// linesOf is awaitLines for an instance of another process's driver.
func linesOf(t *testing.T, dir, prefix string, n int) []string {
	t.Helper()
	again, late := time.NewTicker(5*time.Millisecond), time.After(patience)
	defer again.Stop()
	for {
		var found []string
		files, _ := filepath.Glob(filepath.Join(dir, watchdog.LogDir, "*"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			for line := range strings.Lines(string(b)) {
				if rest, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(rest, "\n") {
					found = append(found, strings.TrimSpace(rest))
				}
			}
		}
		if len(found) >= n {
			return found
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s: %d of %d lines %q", dir, len(found), n, prefix)
		}
	}
}

// handle opens a process that must be alive.
func handle(t *testing.T, pid string) *watchdog.Handle {
	t.Helper()
	h, err := watchdog.Open(identityOf(t, pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.Signal(syscall.SIGKILL) // no process of a test outlives it
		_ = h.Close()
	})
	return h
}

func identityOf(t *testing.T, pid string) watchdog.Process {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	n, _ := strconv.Atoi(pid)
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return watchdog.Process{PID: n, Start: start}
}

func awaitEnd(t *testing.T, h *watchdog.Handle) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Wait(ctx); err != nil {
		t.Fatal("process lives still:", err)
	}
}

func ended(h *watchdog.Handle) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return h.Wait(ctx) == nil
}

// agentProcess runs an agent in a process of its own until it has done its order.
func agentProcess(t *testing.T, o order) *exec.Cmd {
	t.Helper()
	arg, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "agent", string(arg))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "started\n" {
		t.Fatalf("agent: %q", line)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}
