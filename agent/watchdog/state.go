//go:build linux

package watchdog

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

const (
	stateFile = "state.json"
	lockFile  = "lock"
	ownLog    = "watchdog.log"
)

// State is what a watchdog writes down for the agent, and for an agent that comes later.
type State struct {
	BootID   string  `json:"boot_id"` // the processes below mean nothing in another boot
	Watchdog Process `json:"watchdog"`
	App      Process `json:"app,omitzero"`  // its main process, which leads its group; zero before it was started
	Exit     *Exit   `json:"exit,omitzero"` // how the main process ended; nil as long as it runs
}

// Exit is how a main process ended.
type Exit struct {
	Code   int       `json:"code,omitzero"`   // exit code, where Signal is 0
	Signal int       `json:"signal,omitzero"` // the signal that killed it
	Core   bool      `json:"core,omitzero"`   // it left a core dump
	Fenced bool      `json:"fenced,omitzero"` // killed by its watchdog at the deadline
	At     time.Time `json:"at"`              // wall clock, for people
}

// ExitCode returns the exit code in the form that shells use: 128 plus the number of the signal for a killed process.
func (e Exit) ExitCode() int {
	if e.Signal != 0 {
		return 128 + e.Signal
	}
	return e.Code
}

// String tells people what happened.
func (e Exit) String() string {
	switch {
	case e.Fenced:
		return "killed by its watchdog at the lease deadline"
	case e.Signal != 0 && e.Core:
		return fmt.Sprintf("killed by %s, core dumped", signalName(e.Signal))
	case e.Signal != 0:
		return "killed by " + signalName(e.Signal)
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}

// ReadState reads what the watchdog of the instance directory dir wrote last; the error is fs.ErrNotExist where none did.
func ReadState(dir string) (State, error) {
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return State{}, err
	}
	var st State
	if err := json.Unmarshal(data, &st); err != nil {
		return State{}, fmt.Errorf("%s: %w", path, err)
	}
	return st, nil
}

// write replaces the state file. Only an exit status must survive a crash of the machine: in the boot after it the rest is void.
func (st State) write(dir string) error {
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, stateFile), append(data, '\n'), st.Exit != nil)
}

// WriteFile replaces the file at path in one step, readable by the owner only: readers find the old content or the new. With
// durable it returns when the new content is on stable storage; without it, content after a crash of the machine is undefined.
func WriteFile(path string, data []byte, durable bool) (err error) {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	if !durable {
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}
