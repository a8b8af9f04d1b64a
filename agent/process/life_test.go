//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

func TestPrepareStartStopRemove(t *testing.T) {
	h := open(t, t.TempDir())
	i := testInstance("web-0", "wait")
	st, err := h.Prepare(t.Context(), i)
	if err != nil || st.State != agent.StateReady || st.Healthy || st.PID != 0 {
		t.Fatalf("prepared: %+v, %v", st, err)
	}
	st = h.start(i)
	if st.State != agent.StateRunning || !st.Healthy || st.PID == 0 || st.Role != "member" || st.Epoch != 7 || st.Since.IsZero() {
		t.Fatalf("started: %+v", st)
	}
	h.awaitLines("web-0", "ready", 1)
	p := handle(t, strconv.Itoa(st.PID))
	if err := h.Remove("web-0", true); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Fatal("remove of a running instance:", err)
	}
	st, err = h.Stop(t.Context(), "web-0")
	if err != nil || st.State != agent.StateStopped || st.Healthy || st.PID != 0 || st.ExitCode == nil || *st.ExitCode != 0 {
		t.Fatalf("stopped: %+v, %v", st, err)
	}
	if !ended(p) {
		t.Fatal("Stop returned and the process lives")
	}
	h.awaitLines("web-0", "got terminated", 1)
	if st, err := h.Stop(t.Context(), "web-0"); err != nil || st.State != agent.StateStopped {
		t.Fatalf("stopped twice: %+v, %v", st, err)
	}
	if err := h.Remove("web-0", false); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Status("web-0"); ok {
		t.Fatal("known after Remove")
	}
	if _, err := os.Stat(h.DataDir("web-0")); err != nil {
		t.Fatal("data is gone:", err)
	}
	if err := h.Remove("web-0", true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.DataDir("web-0")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("data is still there:", err)
	}
}

func TestDeafAppAndItsChildrenAreKilledAfterTheTimeout(t *testing.T) {
	h := open(t, t.TempDir())
	// Longer each time, for a machine that is too busy to let the app see its signal in time.
	for grace := 50 * time.Millisecond; !h.stopsStubborn(grace); grace *= 4 {
		if grace > patience {
			t.Fatal("the app was killed without having been asked to stop")
		}
	}
}

// stopsStubborn stops an app that ignores it and checks that it and its children are dead. It says whether the app has seen the
// signal before the grace was over.
func (h *harness) stopsStubborn(grace time.Duration) bool {
	t := h.t
	t.Helper()
	i := testInstance("deaf-0", "stubborn")
	i.App.Process.StopTimeout = spec.Duration(grace)
	h.start(i)
	var all []*watchdog.Handle
	for _, pid := range h.awaitLines("deaf-0", "pid ", 3) {
		all = append(all, handle(t, pid))
	}
	st, err := h.Stop(t.Context(), "deaf-0")
	if err != nil || st.ExitCode == nil || *st.ExitCode != 128+9 || st.Detail != "killed by SIGKILL" {
		t.Fatalf("stopped: %+v, %v", st, err)
	}
	for n, p := range all {
		if !ended(p) {
			t.Errorf("process %d of 3 lives", n+1)
		}
	}
	var out bytes.Buffer
	if err := h.Logs(t.Context(), "deaf-0", -1, false, &out); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove("deaf-0", true); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(out.String(), "ignored terminated")
}

func TestKillDoesNotWaitForAStop(t *testing.T) {
	h := open(t, t.TempDir())
	i := testInstance("deaf-0", "deaf")
	i.App.Process.StopTimeout = spec.Duration(time.Hour)
	h.start(i)
	h.awaitLines("deaf-0", "pid ", 1)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 2)
	go func() { _, err := h.Stop(ctx, "deaf-0"); stopped <- err }()
	h.awaitState("deaf-0", agent.StateStopping)
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Fatal("stop given up:", err)
	}
	if _, err := h.Start(t.Context(), i); err == nil || !strings.Contains(err.Error(), "being stopped") {
		t.Fatal("start while stopping:", err)
	}
	go func() { _, err := h.Stop(t.Context(), "deaf-0"); stopped <- err }()
	if err := h.Kill("deaf-0"); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if st, _ := h.Status("deaf-0"); st.State != agent.StateStopped || st.Detail != "killed by SIGKILL" {
		t.Fatalf("%+v", st)
	}
}

func TestWhatTheMainProcessLeavesIsKilled(t *testing.T) {
	h := open(t, t.TempDir())
	h.start(testInstance("web-0", "leave"))
	child := handle(t, h.awaitLines("web-0", "child ", 1)[0])
	if _, err := h.Stop(t.Context(), "web-0"); err != nil {
		t.Fatal(err)
	}
	if !ended(child) {
		t.Fatal("the child lives")
	}
}

func TestStoppedAppIsWokenToStop(t *testing.T) {
	h := open(t, t.TempDir())
	st := h.start(testInstance("web-0", "wait"))
	h.awaitLines("web-0", "ready", 1)
	if err := syscall.Kill(st.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if st, err := h.Stop(t.Context(), "web-0"); err != nil || *st.ExitCode != 0 {
		t.Fatalf("%+v, %v", st, err)
	}
}

func TestRestartsThenGivesUp(t *testing.T) {
	h := open(t, t.TempDir())
	i := testInstance("crash-0", "exit", "3")
	i.App.Restart = spec.Restart{Attempts: new(2), Within: spec.Duration(time.Hour), Backoff: spec.Duration(time.Millisecond)}
	h.start(i)
	st := h.awaitState("crash-0", agent.StateFailed)
	if st.Restarts != 2 || st.ExitCode == nil || *st.ExitCode != 3 || st.Healthy {
		t.Fatalf("%+v", st)
	}
	for _, want := range []string{"exited with code 3", "the reason why", "given up after 2 restarts"} {
		if !strings.Contains(st.Detail, want) {
			t.Errorf("detail %q lacks %q", st.Detail, want)
		}
	}
	h.awaitLines("crash-0", "the reason why", 3)
	// A start by hand begins anew.
	i.App.Process.Command = testInstance("crash-0", "wait").App.Process.Command
	if st := h.start(i); st.State != agent.StateRunning || st.Restarts != 0 || st.ExitCode != nil {
		t.Fatalf("%+v", st)
	}
}

func TestStopEndsAPendingRestart(t *testing.T) {
	h := open(t, t.TempDir())
	i := testInstance("crash-0", "exit", "1")
	i.App.Restart = spec.Restart{Attempts: new(5), Within: spec.Duration(time.Hour), Backoff: spec.Duration(time.Hour)}
	h.start(i)
	st := h.await("crash-0", "a pending restart", func(st agent.Status) bool { return st.State == agent.StateStarting && st.PID == 0 })
	if !strings.Contains(st.Detail, "restart 1 of 5 in 30s") { // the longest back-off
		t.Fatalf("%+v", st)
	}
	if again := h.start(i); again.State != agent.StateStarting || again.PID != 0 {
		t.Fatalf("start of one that waits: %+v", again)
	}
	if st, err := h.Stop(t.Context(), "crash-0"); err != nil || st.State != agent.StateStopped {
		t.Fatalf("%+v, %v", st, err)
	}
}

func TestStartTwice(t *testing.T) {
	h := open(t, t.TempDir())
	i := testInstance("web-0", "wait")
	var both [2]agent.Status
	var wg sync.WaitGroup
	for n := range both {
		wg.Go(func() { both[n], _ = h.Start(t.Context(), i) })
	}
	wg.Wait()
	if both[0].PID == 0 || both[0].PID != both[1].PID {
		t.Fatalf("%+v\n%+v", both[0], both[1])
	}
	i.Epoch++
	if _, err := h.Start(t.Context(), i); err == nil || !strings.Contains(err.Error(), "epoch 8") || !strings.Contains(err.Error(), "epoch 7") {
		t.Fatal(err)
	}
}

func TestStartRefusals(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	script := filepath.Join(dir, "script")
	for path, mode := range map[string]os.FileMode{plain: 0o644, script: 0o755} {
		if err := os.WriteFile(path, []byte("#!/nonexistent/interpreter\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	h := open(t, filepath.Join(dir, "driver"))
	for name, c := range map[string]struct {
		change func(*spec.App)
		want   string
	}{
		"no file":        {func(a *spec.App) { a.Process.Command = []string{"/nonexistent/x"} }, "command /nonexistent/x: no such file"},
		"not on path":    {func(a *spec.App) { a.Process.Command = []string{"no-such-program"} }, "no-such-program: not found on the agent's PATH"},
		"not executable": {func(a *spec.App) { a.Process.Command = []string{plain} }, "is not executable"},
		"a directory":    {func(a *spec.App) { a.Process.Command = []string{dir} }, "is a directory"},
		"interpreter":    {func(a *spec.App) { a.Process.Command = []string{script} }, "interpreter that it names is missing"},
		"cwd":            {func(a *spec.App) { a.Cwd = "/nonexistent/dir" }, "cwd: stat /nonexistent/dir"},
		"user":           {func(a *spec.App) { a.User = "no-such-user" }, "no-such-user"},
		"group":          {func(a *spec.App) { a.Group = "no-such-group" }, "no-such-group"},
		"variable":       {func(a *spec.App) { a.Process.Command = append(a.Process.Command, "$GC_PORT_X") }, "GC_PORT_X"},
		"env file":       {func(a *spec.App) { a.EnvFile = "/nonexistent/env" }, "env_file: open /nonexistent/env"},
		"secret":         {func(a *spec.App) { a.SecretEnv = map[string]string{"K": "/nonexistent/s"} }, "secret_env K: open /nonexistent/s"},
		"stop signal":    {func(a *spec.App) { a.Process.StopSignal = "NAP" }, `stop_signal "NAP"`},
		"no command":     {func(a *spec.App) { a.Process = nil }, "no process.command"},
	} {
		t.Run(name, func(t *testing.T) {
			i := testInstance("bad-0", "wait")
			c.change(&i.App)
			_, err := h.Start(t.Context(), i)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "bad-0") {
				t.Fatalf("error %v, want one about %q", err, c.want)
			}
			if st, ok := h.Status("bad-0"); ok && (st.State != agent.StateFailed || st.PID != 0) {
				t.Fatalf("%+v", st)
			}
		})
	}
	h.start(testInstance("bad-0", "wait")) // nothing of it sticks
}

// Nobody is left who knows what the app has started, also in a session of its own and without an environment: it is killed all the same, and
// nothing else is.
func TestWatchdogKilledAppDies(t *testing.T) {
	for name, agentToo := range map[string]bool{"watchdog": false, "watchdog and agent": true} {
		for _, kind := range []string{"stubborn", "scatter"} {
			t.Run(name+" of "+kind, func(t *testing.T) { killedWatchdog(t, kind, agentToo) })
		}
	}
}

func killedWatchdog(t *testing.T, kind string, agentToo bool) {
	dir := t.TempDir()
	i := testInstance("web-0", kind)
	var h *harness
	var cmd *exec.Cmd
	if agentToo {
		cmd = agentProcess(t, order{Dir: dir, Instances: []agent.Instance{i, testInstance("web-1", "wait")}})
	} else {
		h = open(t, dir)
		h.start(i)
		h.start(testInstance("web-1", "wait"))
	}
	var all []*watchdog.Handle
	for _, pid := range linesOf(t, filepath.Join(dir, "instances", "web-0"), "pid ", 3) {
		all = append(all, handle(t, pid))
	}
	state, err := watchdog.ReadState(filepath.Join(dir, "instances", "web-0"))
	if err != nil {
		t.Fatal(err)
	}
	if agentToo {
		kill(t, cmd)
	}
	if err := syscall.Kill(state.Watchdog.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if agentToo {
		h = open(t, dir)
	}
	st := h.await("web-0", "its end", func(st agent.Status) bool { return st.State == agent.StateFailed || st.State == agent.StateStopped })
	for _, p := range all {
		if !ended(p) {
			t.Error("a process of the app lives")
		}
	}
	if !strings.Contains(st.Detail, "watchdog") {
		t.Errorf("%+v", st)
	}
	if st, _ := h.Status("web-1"); st.State != agent.StateRunning {
		t.Errorf("another instance: %+v", st)
	}
	h.start(testInstance("web-0", "wait"))
}

func TestWatchdogIgnoresSignals(t *testing.T) {
	h := open(t, t.TempDir())
	h.start(testInstance("web-0", "wait"))
	h.awaitLines("web-0", "ready", 1)
	state, err := watchdog.ReadState(filepath.Join(h.instancesDir(), "web-0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGPIPE} {
		if err := syscall.Kill(state.Watchdog.PID, sig); err != nil {
			t.Fatal(sig, err)
		}
	}
	if st, err := h.Stop(t.Context(), "web-0"); err != nil || *st.ExitCode != 0 { // it was there to see the end
		t.Fatalf("%+v, %v", st, err)
	}
}

// Somebody stopped the watchdog itself: Kill works nevertheless.
func TestHangingWatchdogDoesNotHoldUpAKill(t *testing.T) {
	h := open(t, t.TempDir())
	h.wedged = 50 * time.Millisecond
	st := h.start(testInstance("web-0", "wait"))
	app := handle(t, strconv.Itoa(st.PID))
	state, err := watchdog.ReadState(filepath.Join(h.instancesDir(), "web-0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(state.Watchdog.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := h.Kill("web-0"); err != nil || !ended(app) {
		t.Fatal(err)
	}
}

func TestFailedStartIsTheStatusOfThatStart(t *testing.T) {
	h := open(t, t.TempDir())
	i := testInstance("web-0", "wait")
	if _, err := h.Prepare(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	i.Epoch, i.App.User = 8, "no-such-user"
	if _, err := h.Start(t.Context(), i); err == nil {
		t.Fatal("started")
	}
	if st, _ := h.Status("web-0"); st.State != agent.StateFailed || st.Epoch != 8 || !strings.Contains(st.Detail, "no-such-user") {
		t.Fatalf("%+v", st)
	}
	if _, err := h.Prepare(t.Context(), func() agent.Instance { n := i; n.ID = "new-0"; return n }()); err == nil {
		t.Fatal("prepared")
	}
	if st, ok := h.Status("new-0"); ok {
		t.Fatalf("known without having been prepared: %+v", st)
	}
}

func TestOneDriverPerDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := New(Options{Dir: dir, WatchdogCommand: watchdogCommand()}); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Fatal(err)
	}
}

func TestNothingStartsBeforeAdopt(t *testing.T) {
	d, err := New(Options{Dir: t.TempDir(), WatchdogCommand: watchdogCommand(), AllowRoot: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.Start(t.Context(), testInstance("web-0", "wait")); err == nil || !strings.Contains(err.Error(), "Adopt") {
		t.Fatal(err)
	}
}

func TestWatchdogByHand(t *testing.T) {
	out, err := exec.Command(os.Args[0], "watchdog", t.TempDir()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is started by the agent") {
		t.Fatalf("%s, %v", out, err)
	}
}
