//go:build linux

package watchdog

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const headless = "headless"

func init() {
	if len(os.Args) == 2 && os.Args[1] == headless {
		runtime.LockOSThread() // the first thread
	}
}

// loseHead ends the first thread of this process, and says so while another one goes on.
func loseHead() {
	runtime.GOMAXPROCS(4)
	go func() {
		for {
			b, err := os.ReadFile("/proc/self/stat")
			if err != nil || strings.HasPrefix(string(b[bytes.LastIndexByte(b, ')')+1:]), " Z") {
				break
			}
			runtime.Gosched()
		}
		_, _ = os.Stdout.WriteString("ready\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == headless {
		loseHead()
	}
	if len(os.Args) == 3 && os.Args[1] == "watchdog" {
		os.Exit(Main(os.Args[2]))
	}
	os.Exit(m.Run())
}

// A binary with the race detector sleeps a second before it exits, unless told otherwise.
var command = []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", os.Args[0], "watchdog"}

func TestParseStat(t *testing.T) {
	const tail = " S 7 42 41 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0"
	want := entry{Process: Process{PID: 42, Start: 98765}, parent: 7, group: 42, session: 41}
	for _, name := range []string{"sleep", "a b", ") R 1 1 1 (", ""} {
		if got, ok := parseStat("42 (" + name + ")" + tail); !ok || got != want {
			t.Errorf("%q: %+v, %v", name, got, ok)
		}
	}
	if got, ok := parseStat("42 (x)" + strings.Replace(tail, "S", "Z", 1)); !ok || !got.dead {
		t.Errorf("zombie: %+v, %v", got, ok)
	}
	if got, ok := parseStat("42 (x)" + strings.Replace(tail, "S 7 42 41 0 -1 0 0 0 0 0 0 0 0 0 20 0 1", "Z 7 42 41 0 -1 0 0 0 0 0 0 0 0 0 20 0 3", 1)); !ok || got.dead {
		t.Errorf("zombie with two threads more: %+v, %v", got, ok)
	}
	for _, bad := range []string{"", "42", "42 (x", "42 (x) S 1", "x (x)" + tail} {
		if got, ok := parseStat(bad); ok {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

// Whose first thread has ended runs still, as long as there is another one.
func TestProcessWithoutItsFirstThread(t *testing.T) {
	cmd := exec.Command(os.Args[0], headless)
	in, err := cmd.StdinPipe()
	if err != nil {
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
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	e, err := readEntry(cmd.Process.Pid)
	if err != nil || !e.Process.Alive() {
		t.Fatalf("it is taken for dead: %+v, %v", e, err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := Open(e.Process)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	if err := h.Wait(t.Context()); err != nil || e.Process.Alive() {
		t.Errorf("it has ended, and is taken for alive: %v", err)
	}
}

func TestGroupOf(t *testing.T) {
	e := func(pid int, start uint64, group, session int) entry {
		return entry{Process: Process{pid, start}, group: group, session: session}
	}
	leader := Process{100, 5000}
	child, moved, dead := e(101, 5001, 100, 100), e(102, 5002, 102, 102), e(103, 5003, 100, 100)
	dead.dead = true
	for name, c := range map[string]struct {
		table []entry
		want  []Process
	}{
		"whole":                 {[]entry{e(100, 5000, 100, 100), child, moved, dead}, []Process{leader, child.Process}},
		"leader gone":           {[]entry{child, moved, dead}, []Process{child.Process}},
		"id of a stranger":      {[]entry{e(100, 6000, 100, 100), e(104, 6001, 100, 100)}, nil},
		"stranger's job":        {[]entry{e(104, 6001, 100, 99)}, nil},
		"older than the leader": {[]entry{e(104, 4999, 100, 100)}, nil},
	} {
		if diff := cmp.Diff(c.want, group(c.table, leader)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDescendants(t *testing.T) {
	e := func(pid, parent int, dead bool) entry {
		return entry{Process: Process{PID: pid}, parent: parent, dead: dead}
	}
	// Below a zombie nothing lives, but the table is no snapshot; a cycle is impossible, but must not hang.
	all := []entry{e(2, 1, false), e(3, 2, true), e(4, 3, false), e(5, 1, false), e(6, 7, false), e(7, 6, false), e(1, 4, false)}
	var got []int
	for _, p := range descendants(all, 2) {
		got = append(got, p.PID)
	}
	if diff := cmp.Diff([]int{4, 1, 2, 5}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefusesAReusedID(t *testing.T) {
	self, err := readEntry(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(self.Process)
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Close()
	other := self.Process
	other.Start--
	if _, err := Open(other); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if other.Alive() || !self.Alive() {
		t.Error("alive")
	}
	// Were it taken for ours, this test would end here.
	if err := SignalGroup(Process{PID: unix.Getpgrp(), Start: 1}, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := KillGroup(t.Context(), Process{PID: unix.Getpgrp(), Start: 1}); err != nil {
		t.Error(err)
	}
}

func TestDeadlineFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deadline")
	boot, err := BootID()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readDeadline(path, boot); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	d, err := OpenDeadline(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []time.Duration{0, 5 * time.Hour, time.Nanosecond} {
		if err := d.Extend(want); err != nil {
			t.Fatal(err)
		}
		if got, err := readDeadline(path, boot); got != want || err != nil {
			t.Error(got, err)
		}
	}
	if _, err := readDeadline(path, "another"); err == nil || !strings.Contains(err.Error(), "another boot") {
		t.Error(err)
	}
	for _, bad := range []string{"", "x\n", "1 2 " + boot + "\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readDeadline(path, boot); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

func launchOf(argv ...string) Launch {
	return Launch{Path: argv[0], Args: argv, Dir: "/", Env: [][]byte{[]byte("PATH=/bin:/usr/bin")}}
}

func TestStartIsGivenUpWithItsContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent := []string{"/bin/sh", "-c", "exec sleep 1000"} // a watchdog that never answers
	_, err := Start(ctx, silent, dir, launchOf("/bin/true"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st, err := Start(ctx, command, dir, launchOf("/bin/true")) // the lock is free again
	if err != nil {
		t.Fatal(err)
	}
	if got := awaitExit(t, dir, st); got.String() != "exited with code 0" {
		t.Fatal(got)
	}
}

func TestStartTellsWhatABrokenWatchdogSaid(t *testing.T) {
	_, err := Start(t.Context(), []string{"/bin/sh", "-c", "echo my last words >&2"}, t.TempDir(), launchOf("/bin/true"))
	if err == nil || !strings.Contains(err.Error(), "my last words") {
		t.Fatal(err)
	}
}

func TestOneWatchdogPerDirectory(t *testing.T) {
	dir := t.TempDir()
	st, err := Start(t.Context(), command, dir, launchOf("/bin/sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if held, err := Held(dir); !held || err != nil {
		t.Fatal(held, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, command, dir, launchOf("/bin/true")); !errors.Is(err, ErrRunning) {
		t.Fatal(err)
	}
	if err := SignalGroup(st.App, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := awaitExit(t, dir, st); got.String() != "killed by SIGTERM" || got.ExitCode() != 143 {
		t.Fatal(got)
	}
	if held, err := Held(dir); held || err != nil {
		t.Fatal(held, err)
	}
}

// A deadline file that vanishes is one that nobody extends, not one that frees the app.
func TestFenceWithoutItsFile(t *testing.T) {
	dir := t.TempDir()
	l := launchOf("/bin/sleep", "1000")
	l.Fence = &Fence{File: filepath.Join(dir, "none"), DeadlineNS: int64(Boottime() + 200*time.Millisecond)}
	st, err := Start(t.Context(), command, dir, l)
	if err != nil {
		t.Fatal(err)
	}
	if got := awaitExit(t, dir, st); !got.Fenced || got.Signal != 9 {
		t.Fatal(got)
	}
}

func awaitExit(t *testing.T, dir string, st State) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h, err := Open(st.Watchdog)
	if err == nil {
		err = h.Wait(ctx)
		_ = h.Close()
	}
	if err != nil && !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	last, err := ReadState(dir)
	if err != nil || last.Exit == nil || last.App != st.App {
		t.Fatalf("%+v, %v", last, err)
	}
	return *last.Exit
}

// No agent is there to help: the kernel takes the app along.
func TestKilledWatchdogTakesItsAppAlong(t *testing.T) {
	st, err := Start(t.Context(), command, t.TempDir(), launchOf("/bin/sleep", "1000")) // which never writes to the broken pipe
	if err != nil {
		t.Fatal(err)
	}
	app, err := Open(st.App)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Signal(unix.SIGKILL); _ = app.Close() }()
	if err := unix.Kill(st.Watchdog.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := app.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// A child of ours may be what process 1 was given of an app that has lost its watchdog.
func TestKillLeftByItsMarks(t *testing.T) {
	mark := "GC_INSTANCE=" + t.Name()
	start := func(env ...string) *Handle {
		cmd := exec.Command("/bin/sleep", "60")
		cmd.Env = env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		e, err := readEntry(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		h, err := Open(e.Process)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		return h
	}
	theirs, hook, other, longer := start(mark, "GC_DATA_DIR=/a"), start(mark, "GC_DATA_DIR=/a", "GC_HOOK=x"), start(mark), start(mark+"0", "GC_DATA_DIR=/a")
	if err := KillLeft(t.Context(), State{}, "GC_HOOK", mark, "GC_DATA_DIR=/a"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		h     *Handle
		lives bool
	}{"the app's": {theirs, false}, "a hook's": {hook, true}, "another directory's": {other, true}, "another instance's": {longer, true}} {
		if c.h.process.Alive() != c.lives {
			t.Errorf("%s lives: %t, want %t", name, !c.lives, c.lives)
		}
	}
}

// One that waits has nothing and holds nothing: it can be let go, it can be lost, and its launch says so.
func TestWaiting(t *testing.T) {
	dir := t.TempDir()
	launch := Launch{Path: "/bin/true", Args: []string{"true"}, Dir: "/"}
	w, err := Ready(t.Context(), command, dir)
	if err != nil {
		t.Fatal(err)
	}
	if held, err := Held(dir); held || err != nil {
		t.Errorf("held %t, %v", held, err)
	}
	if _, err := ReadState(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has written a state: %v", err)
	}
	e, err := readEntry(w.p.Pid)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(e.Process)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.Wait(ctx); err != nil {
		t.Fatalf("let go, it does not end: %v", err)
	}
	if w, err = Ready(t.Context(), command, dir); err != nil {
		t.Fatal(err)
	}
	if err := w.p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Launch(t.Context(), launch); !errors.Is(err, ErrEnded) {
		t.Errorf("launch by one that was killed: %v", err)
	}
	if w, err = Ready(t.Context(), command, dir); err != nil {
		t.Fatal(err)
	}
	st, err := w.Launch(t.Context(), launch)
	if err != nil || st.Watchdog.PID != w.p.Pid {
		t.Fatalf("%+v, %v", st, err)
	}
	if got := awaitExit(t, dir, st); got.String() != "exited with code 0" {
		t.Error(got)
	}
}
