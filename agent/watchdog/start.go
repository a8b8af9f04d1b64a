//go:build linux

package watchdog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// ErrRunning says that a watchdog for the directory exists.
var ErrRunning = errors.New("another watchdog of this instance runs still")

// Start starts a watchdog for the instance directory dir, and through it the app, by running command with dir as its last
// argument. It returns once the program of the app runs. When it returns an error, nothing runs; where ctx ended, what was
// started is being killed.
func Start(ctx context.Context, command []string, dir string, l Launch) (State, error) {
	if len(command) == 0 {
		return State{}, errors.New("start watchdog: no command for it")
	}
	lock, err := acquire(ctx, dir)
	if err != nil {
		return State{}, err
	}
	defer func() { _ = lock.Close() }() // the watchdog's copy goes on holding it
	// From here on a state file is one of this start.
	if err := os.Remove(filepath.Join(dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return State{}, err
	}
	launch, err := json.Marshal(l)
	if err != nil {
		return State{}, fmt.Errorf("launch of %s: %w", l.Path, err) // cannot be about Env, which is bytes
	}
	own, err := os.OpenFile(filepath.Join(dir, ownLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return State{}, err
	}
	defer func() { _ = own.Close() }()
	launchR, launchW, err := os.Pipe()
	if err != nil {
		return State{}, err
	}
	defer func() { _ = launchR.Close(); _ = launchW.Close() }()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		return State{}, err
	}
	defer func() { _ = reportR.Close(); _ = reportW.Close() }()

	p, err := os.StartProcess(command[0], append(command[:len(command):len(command)], dir), &os.ProcAttr{
		Dir:   "/", // it pins no mount
		Env:   []string{},
		Files: []*os.File{launchR, own, own, reportW, lock},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return State{}, fmt.Errorf("start watchdog: %w", err)
	}
	go reap(p)
	_, _ = launchR.Close(), reportW.Close()

	stop := context.AfterFunc(ctx, func() { _ = p.Kill() }) // the app, where it runs, dies with it
	go func() {
		_, _ = launchW.Write(launch) // where this fails the watchdog has died, which the report tells
		_ = launchW.Close()
	}()
	st, err := readReport(dir, reportR)
	if !stop() {
		return State{}, fmt.Errorf("start given up: %w", context.Cause(ctx))
	}
	return st, err
}

// reap collects the watchdog whenever it ends; what it has to say is in its state file. It waits as Handle does, because Wait
// alone would keep a thread for each app.
func reap(p *os.Process) {
	if e, err := readEntry(p.Pid); err == nil {
		if h, err := Open(e.Process); err == nil {
			_ = h.Wait(context.Background())
			_ = h.Close()
		}
	}
	_, _ = p.Wait()
}

func readReport(dir string, from io.Reader) (State, error) {
	data, err := io.ReadAll(from)
	var r report
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	switch {
	case err != nil:
		said, _ := os.ReadFile(filepath.Join(dir, ownLog))
		said = bytes.TrimSpace(said[:min(len(said), 500)])
		return State{}, fmt.Errorf("watchdog ended before it started the app: %q", said)
	case r.Error != "":
		return State{}, errors.New(r.Error)
	}
	return r.State, nil
}

// Held reports whether a watchdog of the instance directory dir exists, also one that has not written its state yet.
func Held(dir string) (bool, error) {
	f, err := tryLock(dir)
	if errors.Is(err, ErrRunning) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

// acquire takes the lock of dir. A process that is being forked elsewhere in the agent holds a copy of the lock of an earlier
// start until its exec, so one refusal is no proof.
func acquire(ctx context.Context, dir string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		f, err := tryLock(dir)
		if !errors.Is(err, ErrRunning) {
			return f, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func tryLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrRunning)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
