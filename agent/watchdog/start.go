//go:build linux

package watchdog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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

// ErrEnded says that a watchdog ended before it started its app.
var ErrEnded = errors.New("watchdog ended before it started the app")

// Waiting is a watchdog that has been started and waits for what it is to launch: starting the program that it is takes longer than
// all it does then. It holds no lock and has written nothing; when whoever started it dies, it ends.
type Waiting struct {
	dir     string
	p       *os.Process
	lock    *os.File // not locked yet; the watchdog has a copy
	launch  *os.File // where it reads what to launch
	reports *os.File
	said    *bufio.Reader // of reports
}

// Ready starts a watchdog for the instance directory dir by running command with dir as its last argument. Either Launch or Close is
// called on it. It returns once the watchdog waits; the error is ErrEnded where it did not come to that.
func Ready(ctx context.Context, command []string, dir string) (*Waiting, error) {
	lock, err := openLock(dir)
	if err != nil {
		return nil, err
	}
	return ready(ctx, command, dir, lock)
}

// ready is Ready with a lock file, which it closes where it fails.
func ready(ctx context.Context, command []string, dir string, lock *os.File) (_ *Waiting, err error) {
	open := []*os.File{lock}
	defer func() {
		if err != nil {
			closeAll(open...)
		}
	}()
	if len(command) == 0 {
		return nil, errors.New("start watchdog: no command for it")
	}
	own, err := os.OpenFile(filepath.Join(dir, ownLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer closeAll(own)
	launchR, launchW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer closeAll(launchR)
	open = append(open, launchW)
	reportR, reportW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer closeAll(reportW)
	open = append(open, reportR)
	p, err := os.StartProcess(command[0], append(command[:len(command):len(command)], dir), &os.ProcAttr{
		Dir:   "/", // it pins no mount
		Env:   []string{},
		Files: []*os.File{launchR, own, own, reportW, lock},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	go reap(p)
	closeAll(launchR, reportW)
	w := &Waiting{dir: dir, p: p, lock: lock, launch: launchW, reports: reportR, said: bufio.NewReader(reportR)}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	_, err = w.said.ReadBytes(waits)
	switch {
	case !stop():
		return nil, fmt.Errorf("start given up: %w", context.Cause(ctx))
	case err != nil:
		return nil, w.gone()
	}
	return w, nil
}

// gone says that the watchdog has ended, and what it said.
func (w *Waiting) gone() error {
	said, _ := os.ReadFile(filepath.Join(w.dir, ownLog))
	return fmt.Errorf("%w: %q", ErrEnded, bytes.TrimSpace(said[:min(len(said), 500)]))
}

// Close lets the watchdog end. It must not be called together with Launch.
func (w *Waiting) Close() { closeAll(w.launch, w.reports, w.lock) }

// Launch starts the app. It returns once the program of the app runs. When it returns an error, nothing runs; where ctx ended, what was
// started is being killed. The error is ErrEnded where the watchdog had gone.
func (w *Waiting) Launch(ctx context.Context, l Launch) (State, error) {
	defer w.Close() // the watchdog's copy of the lock goes on holding it
	if err := acquire(ctx, w.lock); err != nil {
		return State{}, err
	}
	// From here on a state file is one of this start.
	if err := os.Remove(filepath.Join(w.dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return State{}, err
	}
	launch, err := json.Marshal(l)
	if err != nil {
		return State{}, fmt.Errorf("launch of %s: %w", l.Path, err) // cannot be about Env, which is bytes
	}
	stop := context.AfterFunc(ctx, func() { _ = w.p.Kill() }) // the app, where it runs, dies with it
	go func() {
		_, _ = w.launch.Write(launch) // where this fails the watchdog has died, which the report tells
		_ = w.launch.Close()
	}()
	st, err := w.report()
	if !stop() {
		return State{}, fmt.Errorf("start given up: %w", context.Cause(ctx))
	}
	return st, err
}

// Start is Ready and Launch, for a directory that no other watchdog has.
func Start(ctx context.Context, command []string, dir string, l Launch) (State, error) {
	lock, err := openLock(dir)
	if err != nil {
		return State{}, err
	}
	if err := acquire(ctx, lock); err != nil {
		closeAll(lock)
		return State{}, err
	}
	w, err := ready(ctx, command, dir, lock)
	if err != nil {
		return State{}, err
	}
	return w.Launch(ctx, l)
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
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

func (w *Waiting) report() (State, error) {
	var r report
	switch err := json.UnmarshalRead(w.said, &r); {
	case err != nil:
		return State{}, w.gone()
	case r.Error != "":
		return State{}, errors.New(r.Error)
	}
	return r.State, nil
}

// Held reports whether a watchdog of the instance directory dir has something to launch or runs an app, also one that has not written
// its state yet.
func Held(dir string) (bool, error) {
	f, err := openLock(dir)
	if err != nil {
		return false, err
	}
	defer closeAll(f)
	if err = tryLock(f); errors.Is(err, ErrRunning) {
		return true, nil
	}
	return false, err
}

// acquire locks what openLock opened. A process that is being forked elsewhere in the agent holds a copy of the lock of an earlier
// start until its exec, so one refusal is no proof.
func acquire(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := tryLock(f)
		if !errors.Is(err, ErrRunning) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

func openLock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
}

func tryLock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", f.Name(), ErrRunning)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}
