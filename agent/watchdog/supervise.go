//go:build linux

package watchdog

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// run returns when no descendant is left and their output is written.
func (s *supervisor) run() {
	fenced := s.fenced
	byFence := false
	var sweep <-chan time.Time // set while the app is being killed
	for {
		select {
		case <-s.exited:
			if s.reap(byFence) {
				s.drain()
				return
			}
		case <-fenced:
			fenced, byFence = nil, true
			warn(fmt.Errorf("the lease deadline is over, killing %d", s.state.App.PID))
		case <-sweep:
		}
		if byFence || s.state.Exit != nil {
			s.kill()
			// Each round may lay open processes that had been forked meanwhile. Their ends wake us; the timer is for one that
			// ended unseen below a parent which lives.
			sweep = time.After(50 * time.Millisecond)
		}
	}
}

// reap collects the children that have ended, keeps the status of the main one, and reports whether no child is left. Orphaned
// descendants are children too, so none is left of anything then.
func (s *supervisor) reap(byFence bool) bool {
	if s.state.Exit == nil {
		// The main process is looked at before it is collected: until then its id, and with it the group's, is nobody else's.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, s.state.App.PID, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == nil && info.Signo != 0 {
			_ = unix.Kill(-s.state.App.PID, unix.SIGKILL)
		}
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD):
			return true
		case err != nil:
			warn(os.NewSyscallError("wait4", err))
			return false
		case pid == 0:
			return false
		case pid == s.state.App.PID && s.state.Exit == nil:
			s.ended(status, byFence)
		}
	}
}

func (s *supervisor) ended(status syscall.WaitStatus, byFence bool) {
	exit := &Exit{At: time.Now().UTC(), Fenced: byFence}
	if status.Signaled() {
		exit.Signal, exit.Core = int(status.Signal()), status.CoreDump()
	} else {
		exit.Code = status.ExitStatus()
	}
	s.state.Exit = exit
	if err := s.state.write(s.dir); err != nil {
		warn(fmt.Errorf("keep that the app %v: %w", exit, err))
	}
}

// kill sends SIGKILL to everything below the watchdog: at once to the group, as long as its id is certain, then to whatever
// moved out of it.
func (s *supervisor) kill() {
	if s.state.Exit == nil {
		_ = unix.Kill(-s.state.App.PID, unix.SIGKILL)
	}
	all, err := table()
	if err != nil {
		warn(err)
		return
	}
	for _, p := range descendants(all, os.Getpid()) {
		h, err := Open(p)
		if err != nil {
			if !errors.Is(err, ErrGone) {
				warn(err)
			}
			continue
		}
		if err := h.Signal(unix.SIGKILL); err != nil {
			warn(fmt.Errorf("kill %d: %w", p.PID, err))
		}
		_ = h.Close()
	}
}

// drain waits until the output is written. It is in the pipe already; only a stranger that was handed the app's descriptor could
// keep the pipe open.
func (s *supervisor) drain() {
	select {
	case <-s.logged:
	case <-time.After(time.Second):
		warn(errors.New("another process holds the app's output open; it is not logged any more"))
	}
}
