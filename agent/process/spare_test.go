//go:build linux

package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// spares returns the watchdogs of an instance that run, by /proc.
func (h *harness) spares(id string) (pids []int) {
	h.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		h.t.Fatal(err)
	}
	dir := []byte(filepath.Join(h.instancesDir(), id) + "\x00")
	for _, path := range all {
		if text, err := os.ReadFile(path); err == nil && bytes.HasSuffix(text, dir) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// What is prepared has a watchdog that waits, and is started by it; one that was killed meanwhile is replaced.
func TestPreparedHasAWatchdog(t *testing.T) {
	h := open(t, t.TempDir())
	for _, kill := range []bool{false, true} {
		if _, err := h.Prepare(t.Context(), testInstance("web-0", "wait")); err != nil {
			t.Fatal(err)
		}
		waits := h.spares("web-0")
		if len(waits) != 1 {
			t.Fatalf("watchdogs %v wait, want one", waits)
		}
		if kill {
			dog := handle(t, strconv.Itoa(waits[0]))
			if err := syscall.Kill(waits[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := dog.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		h.start(testInstance("web-0", "wait"))
		state, err := watchdog.ReadState(filepath.Join(h.instancesDir(), "web-0"))
		if err != nil {
			t.Fatal(err)
		}
		if started := state.Watchdog.PID == waits[0]; started == kill {
			t.Errorf("killed %t: started by %d, and %d waited", kill, state.Watchdog.PID, waits[0])
		}
		if _, err := h.Stop(t.Context(), "web-0"); err != nil {
			t.Fatal(err)
		}
	}
}

// A record that a crash of the machine has damaged keeps nothing from being prepared and started again.
func TestRecordDamagedByACrash(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	if _, err := h.Prepare(t.Context(), testInstance("web-0", "wait")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.instancesDir(), "web-0", recordFile)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	if st, known := h.Status("web-0"); known {
		t.Errorf("it is known: %+v", st)
	}
	h.start(testInstance("web-0", "wait"))
}
