//go:build linux

package watchdog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone says that a process has ended.
var ErrGone = errors.New("process has ended")

// Handle holds on to one process, a child or not. Signals through it never reach another process that got the same id. It is
// safe for concurrent use.
type Handle struct {
	process Process
	fd      int
	file    *os.File // owns fd, a pidfd
}

// Open returns a handle of p, or an error that is ErrGone.
func Open(p Process) (*Handle, error) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: the id of a thread now
		return nil, fmt.Errorf("process %d: %w", p.PID, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", p.PID, os.NewSyscallError("pidfd_open", err))
	}
	// Whose pidfd this is can be told only now: the id may have changed hands before.
	if e, err := readEntry(p.PID); err != nil || e.Start != p.Start {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("process %d: %w", p.PID, ErrGone)
	}
	// Only a non-blocking descriptor is waited for by Go's poller; another one would cost a thread for each process.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &Handle{process: p, fd: fd, file: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// Wait returns nil when the process has ended (it may be a zombie still), or the error of ctx. One goroutine may wait at a time.
func (h *Handle) Wait(ctx context.Context) error {
	conn, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	ended := false
	look := func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		ended = err == nil && n > 0
		return ended
	}
	// First without the poller, which does not even look once ctx has ended.
	if err := conn.Control(func(fd uintptr) { look(fd) }); err != nil || ended {
		return err
	}
	_ = h.file.SetReadDeadline(time.Time{}) // of a wait that was given up before
	stop := context.AfterFunc(ctx, func() { _ = h.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.Read(look); err != nil && ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return err
	}
	return nil
}

// Signal sends sig to the process; to one that has ended it is a no-op.
func (h *Handle) Signal(sig unix.Signal) error {
	conn, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// Close releases the handle; the process goes on.
func (h *Handle) Close() error { return h.file.Close() }

// SignalGroup sends sig to the group that leader founded, as long as leader itself is there, also as a zombie; otherwise it is a
// no-op.
func SignalGroup(leader Process, sig unix.Signal) error {
	e, err := readEntry(leader.PID)
	if err != nil || e.Start != leader.Start {
		return nil
	}
	if err := unix.Kill(-leader.PID, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to group %d: %w", unix.SignalName(sig), leader.PID, err)
	}
	return nil
}

// KillGroup kills what lives of the group that leader founded, also when leader itself is gone, and returns when nothing of it
// is left or ctx ends.
func KillGroup(ctx context.Context, leader Process) error {
	for {
		all, err := table()
		if err != nil {
			return err
		}
		members := group(all, leader)
		if len(members) == 0 {
			return nil
		}
		for _, m := range members {
			if err := killAndWait(ctx, m); err != nil {
				return fmt.Errorf("kill group %d: %w", leader.PID, err)
			}
		}
	}
}

func killAndWait(ctx context.Context, p Process) error {
	h, err := Open(p)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	if err := h.Signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	return h.Wait(ctx)
}
