//go:build linux

package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

func fencedInstance(id string, args ...string) agent.Instance {
	i := testInstance(id, args...)
	i.App.Mode, i.Role, i.Fenced = spec.Singleton, "active", true
	return i
}

func TestAdoptAfterTheAgentWasKilled(t *testing.T) {
	dir := t.TempDir()
	web := testInstance("web-0", "http", "127.0.0.1:$GC_PORT_HTTP")
	web.App.Ports = map[string]int{"http": 0}
	web.App.Health = &spec.Health{HTTP: "http://127.0.0.1:$GC_PORT_HTTP/", Interval: spec.Duration(10 * time.Millisecond)}
	db := fencedInstance("db-0", "wait")
	deaf := testInstance("deaf-0", "deaf")
	deaf.App.Process.StopTimeout = spec.Duration(50 * time.Millisecond)
	crash := testInstance("crash-0", "wait")
	crash.App.Restart = spec.Restart{Attempts: new(1), Within: spec.Duration(time.Hour), Backoff: spec.Duration(time.Millisecond)}
	lost := testInstance("lost-0", "wait")
	first := agentProcess(t, order{Dir: dir, Lease: spec.Duration(time.Hour), Instances: []agent.Instance{web, db, deaf, crash, lost}, Stop: "deaf-0"})

	state := func(id string) watchdog.State {
		st, err := watchdog.ReadState(filepath.Join(dir, "instances", id))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	apps := map[string]watchdog.State{}
	for _, id := range []string{"web-0", "db-0", "crash-0", "lost-0"} {
		apps[id] = state(id)
	}
	lostApp := handle(t, strconv.Itoa(apps["lost-0"].App.PID))
	kill(t, first)
	// While nobody looks, one app crashes and one loses its watchdog.
	crashDog := handle(t, strconv.Itoa(apps["crash-0"].Watchdog.PID))
	if err := syscall.Kill(apps["crash-0"].App.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, crashDog)
	if err := syscall.Kill(apps["lost-0"].Watchdog.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, lostApp)

	h := open(t, dir)
	st, _ := h.Status("web-0")
	ports := st.Ports
	if st.PID != apps["web-0"].App.PID || st.Role != "member" || st.Epoch != 7 || st.Ports["http"] == 0 {
		t.Fatalf("web: %+v", st)
	}
	h.await("web-0", "health", func(st agent.Status) bool { return st.Healthy && st.State == agent.StateRunning })
	if st, _ := h.Status("db-0"); st.PID != apps["db-0"].App.PID || st.State != agent.StateRunning || st.Role != "active" {
		t.Fatalf("db: %+v", st)
	}
	h.awaitState("deaf-0", agent.StateStopped) // its stop went on
	st = h.await("crash-0", "a restart", func(st agent.Status) bool { return st.State == agent.StateRunning })
	if st.Restarts != 1 || st.PID == apps["crash-0"].App.PID {
		t.Fatalf("crash: %+v", st)
	}
	st = h.awaitState("lost-0", agent.StateStopped)
	if !strings.Contains(st.Detail, "watchdog") {
		t.Fatalf("lost: %+v", st)
	}
	if h.start(web).PID != apps["web-0"].App.PID {
		t.Fatal("start of what runs already")
	}
	webApp := handle(t, strconv.Itoa(apps["web-0"].App.PID))
	if st, err := h.Stop(t.Context(), "web-0"); err != nil || st.State != agent.StateStopped || !ended(webApp) {
		t.Fatalf("stop of an adopted one: %+v, %v", st, err)
	}
	again, err := h.Prepare(t.Context(), web)
	if err != nil || again.Ports["http"] != ports["http"] {
		t.Fatalf("ports: %+v, %v", again, err)
	}
}

func TestAdoptNoticesTheEndOfWhatItAdopted(t *testing.T) {
	dir := t.TempDir()
	kill(t, agentProcess(t, order{Dir: dir, Instances: []agent.Instance{testInstance("web-0", "wait")}}))
	h := open(t, dir)
	st, _ := h.Status("web-0")
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	st = h.awaitState("web-0", agent.StateFailed)
	if *st.ExitCode != 137 || !strings.Contains(st.Detail, "killed by SIGKILL") {
		t.Fatalf("%+v", st)
	}
}

func TestAdoptRemembersHowThingsEnded(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.start(testInstance("stopped-0", "wait"))
	if _, err := h.Stop(t.Context(), "stopped-0"); err != nil {
		t.Fatal(err)
	}
	h.start(testInstance("failed-0", "exit", "9"))
	h.awaitState("failed-0", agent.StateFailed)
	if _, err := h.Prepare(t.Context(), testInstance("ready-0", "wait")); err != nil {
		t.Fatal(err)
	}
	before := h.List()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	after := open(t, dir).List()
	if len(after) != 3 {
		t.Fatalf("%+v", after)
	}
	for n, st := range after {
		if st.State != before[n].State || st.Detail != before[n].Detail || st.ID != before[n].ID {
			t.Errorf("was %+v\nis %+v", before[n], st)
		}
	}
}

// The record and state of another process, or of another boot, never make the driver touch the process that has the id now.
func TestForeignProcessIsNeverTakenForTheApp(t *testing.T) {
	for name, change := range map[string]func(*watchdog.State){
		"reused id": func(st *watchdog.State) { st.App.Start--; st.Watchdog.Start-- },
		"another boot": func(st *watchdog.State) { // its restart policy is void, too
			st.BootID, st.Exit = "00000000-0000-0000-0000-000000000000", &watchdog.Exit{Code: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := open(t, dir)
			h.start(testInstance("web-0", "exit", "0"))
			h.awaitState("web-0", agent.StateFailed)
			stranger := open(t, t.TempDir())
			sst := stranger.start(testInstance("other-0", "wait"))
			stranger.awaitLines("other-0", "ready", 1)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			// What is on disk says that the instance runs, as the stranger's process.
			id := identityOf(t, strconv.Itoa(sst.PID))
			boot, err := watchdog.BootID()
			if err != nil {
				t.Fatal(err)
			}
			st := watchdog.State{BootID: boot, App: id, Watchdog: id}
			change(&st)
			idir := filepath.Join(dir, "instances", "web-0")
			writeJSON(t, filepath.Join(idir, "state.json"), st)
			rec, err := readRecord(idir)
			if err != nil {
				t.Fatal(err)
			}
			rec.Want = true
			writeJSON(t, filepath.Join(idir, recordFile), rec)

			h = open(t, dir)
			if got, _ := h.Status("web-0"); got.State != agent.StateStopped || got.PID != 0 ||
				(name == "another boot") != (got.Detail == "the machine was restarted") {
				t.Fatalf("%+v", got)
			}
			if err := h.Kill("web-0"); err != nil {
				t.Fatal(err)
			}
			if st, err := stranger.Stop(t.Context(), "other-0"); err != nil || *st.ExitCode != 0 {
				t.Fatalf("stranger: %+v, %v", st, err)
			}
		})
	}
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAdoptKillsWhatItCannotUnderstand(t *testing.T) {
	dir := t.TempDir()
	kill(t, agentProcess(t, order{Dir: dir, Instances: []agent.Instance{testInstance("web-0", "wait"), testInstance("ok-0", "wait")}}))
	state, err := watchdog.ReadState(filepath.Join(dir, "instances", "web-0"))
	if err != nil {
		t.Fatal(err)
	}
	app := handle(t, strconv.Itoa(state.App.PID))
	if err := os.WriteFile(filepath.Join(dir, "instances", "web-0", recordFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(Options{Dir: dir, WatchdogCommand: watchdogCommand(), AllowRoot: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Kill("ok-0"); _ = d.Close() }()
	all, err := d.Adopt(t.Context())
	if err == nil || !strings.Contains(err.Error(), "web-0/record.json") {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].ID != "ok-0" || all[0].State != agent.StateRunning {
		t.Fatalf("%+v", all)
	}
	if !ended(app) {
		t.Fatal("the app lives")
	}
}

func TestOrphanedFencedAppDiesAtTheDeadlineAndAPoolLivesOn(t *testing.T) {
	dir := t.TempDir()
	const lease = 1500 * time.Millisecond
	before := watchdog.Boottime()
	first := agentProcess(t, order{Dir: dir, Lease: spec.Duration(lease), Instances: []agent.Instance{
		fencedInstance("db-0", "stubborn"), testInstance("web-0", "wait"),
	}})
	state, err := watchdog.ReadState(filepath.Join(dir, "instances", "db-0"))
	if err != nil {
		t.Fatal(err)
	}
	db, dog := handle(t, strconv.Itoa(state.App.PID)), handle(t, strconv.Itoa(state.Watchdog.PID))
	kill(t, first)
	if ended(db) {
		t.Fatal("dead before the deadline")
	}
	awaitEnd(t, db)
	if at := watchdog.Boottime() - before; at < lease {
		t.Fatalf("killed %s after the start, the lease was %s", at, lease)
	}
	awaitEnd(t, dog) // nothing of it is left
	h := open(t, dir)
	if st, _ := h.Status("db-0"); st.State != agent.StateStopped || !strings.Contains(st.Detail, "lease deadline") || st.Restarts != 0 {
		t.Fatalf("db: %+v", st)
	}
	if st, _ := h.Status("web-0"); st.State != agent.StateRunning {
		t.Fatalf("web: %+v", st)
	}
}

func TestFence(t *testing.T) {
	h := open(t, t.TempDir())
	i := fencedInstance("db-0", "wait")
	i.App.Restart = spec.Restart{Attempts: new(3), Backoff: spec.Duration(time.Millisecond)}
	if _, err := h.Start(t.Context(), i); err == nil || !strings.Contains(err.Error(), "no lease") {
		t.Fatal("start without a lease:", err)
	}
	h.Extend(watchdog.Boottime() - time.Second)
	if _, err := h.Start(t.Context(), i); err == nil || !strings.Contains(err.Error(), "no lease") {
		t.Fatal("start after the lease:", err)
	}
	// Longer each time, for a machine that is too busy to start the app and to extend its lease before that is over.
	var (
		st    agent.Status
		begin time.Duration
		step  = 400 * time.Millisecond
	)
	for ; ; step *= 2 {
		begin = watchdog.Boottime()
		h.Extend(begin + step)
		var err error
		if st, err = h.Start(t.Context(), i); err == nil {
			h.Extend(begin + 3*step)
			h.Extend(begin + step) // is not taken back
			if watchdog.Boottime() < begin+step {
				break
			}
		}
		if step > patience {
			t.Fatal("nothing starts in time:", err)
		}
		if err := h.Kill("db-0"); err != nil {
			t.Fatal(err)
		}
	}
	st = h.await("db-0", "the fence", func(now agent.Status) bool { return now.PID != st.PID })
	if at := watchdog.Boottime() - begin; at < 3*step {
		t.Fatalf("killed after %s, extended to %s", at, 3*step)
	}
	if st.State != agent.StateStopped || !strings.Contains(st.Detail, "lease deadline") {
		t.Fatalf("%+v", st)
	}
}

// A crash while the lease is over: the restart comes with the lease.
func TestRestartOfAFencedAppWaitsForTheLease(t *testing.T) {
	dir := t.TempDir()
	i := fencedInstance("db-0", "wait")
	i.App.Restart = spec.Restart{Attempts: new(3), Within: spec.Duration(time.Hour), Backoff: spec.Duration(time.Millisecond)}
	first := agentProcess(t, order{Dir: dir, Lease: spec.Duration(time.Hour), Instances: []agent.Instance{i}})
	state, err := watchdog.ReadState(filepath.Join(dir, "instances", "db-0"))
	if err != nil {
		t.Fatal(err)
	}
	kill(t, first)
	dog := handle(t, strconv.Itoa(state.Watchdog.PID))
	if err := syscall.Kill(state.App.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, dog)
	h := open(t, dir) // which has no lease yet
	h.await("db-0", "the lease", func(st agent.Status) bool { return strings.HasSuffix(st.Detail, waiting) })
	h.Extend(watchdog.Boottime() + time.Hour)
	h.awaitState("db-0", agent.StateRunning)
}

// An agent that dies between the end of what it stops and its own taking notice leaves something that is stopped, not something prepared.
func TestAdoptOfWhatEndedWhileItWasStopped(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.start(testInstance("web-0", "wait"))
	h.awaitLines("web-0", "ready", 1)
	path := filepath.Join(h.instancesDir(), "web-0", recordFile)
	if _, err := h.Stop(t.Context(), "web-0"); err != nil {
		t.Fatal(err)
	}
	rec, err := readRecord(filepath.Dir(path))
	if err != nil || rec.Rest != agent.StateStopped {
		t.Fatalf("%+v, %v", rec, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	rec.Rest, rec.Detail, rec.ExitCode = "", "", nil // as it was when the signal was sent
	if err := (&instance{id: "web-0", dir: filepath.Dir(path), rec: rec}).save(); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	if st, _ := h.Status("web-0"); st.State != agent.StateStopped || st.ExitCode == nil || *st.ExitCode != 0 {
		t.Errorf("%+v", st)
	}
}
