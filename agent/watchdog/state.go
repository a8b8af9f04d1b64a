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
	App      Process `json:"app,omitzero"`    // its main process, which leads its group and its session; zero before it was started
	Output   uint64  `json:"output,omitzero"` // inode of the pipe that it was given for its output
	Exit     *Exit   `json:"exit,omitzero"`   // how the main process ended; nil as long as it runs
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

// write replaces the state file. It is not synced: in another boot what it says is void.
func (st State) write(dir string) error {
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, stateFile), append(data, '\n'))
}

// WriteFile replaces the file at path in one step, readable by the owner only: readers find the old content or the new, however this
// process ends. After a crash of the machine the content is undefined.
func WriteFile(path string, data []byte) error {
	tmp := path + ".new"
	err := os.WriteFile(tmp, data, 0o600)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}
