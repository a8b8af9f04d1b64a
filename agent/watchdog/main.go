//go:build linux

package watchdog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// The descriptors that Start hands to Main, besides standard input with the launch.
const (
	reportFD = 3
	lockFD   = 4
)

// Main is the watchdog process for the instance directory dir; it returns the exit code of the process. It takes over the
// process: it closes inherited descriptors, handles signals and waits for all children.
func Main(dir string) int {
	// The kernel kills the app when the thread that started it ends, and a locked thread lives as long as its goroutine.
	runtime.LockOSThread()
	if !isPipe(reportFD) {
		fmt.Fprintln(os.Stderr, "watchdog: is started by the agent, not by hand")
		return 2
	}
	unix.CloseOnExec(reportFD)
	unix.CloseOnExec(lockFD)
	closeInherited()
	ignoreSignals()

	s := &supervisor{dir: dir}
	out := os.NewFile(reportFD, "report")
	_, _ = out.Write([]byte{waits})
	err := s.start()
	r := report{State: s.state}
	if err != nil {
		r.Error = err.Error()
	}
	if err := json.MarshalWrite(out, r); err != nil {
		warn(fmt.Errorf("report to the agent: %w", err)) // the agent has died; the next one adopts the app
	}
	_ = out.Close()
	if err != nil {
		warn(err)
		return 1
	}
	s.run()
	return 0
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// closeInherited closes what the agent had inherited itself and passed on without knowing. Descriptors of Go are closed at exec,
// so the marked ones are our own.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		warn(err)
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// ignoreSignals makes the watchdog outlive signals that were meant for others. They are handled and not ignored in the sense of
// SIG_IGN, which the app would inherit.
func ignoreSignals() {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
}

// warn writes to standard error, which is the watchdog's own log file.
func warn(err error) {
	fmt.Fprintf(os.Stderr, "%s watchdog: %v\n", time.Now().UTC().Format(time.RFC3339), err)
}

// supervisor runs one app from its start to the end of its last process. It belongs to the goroutine of Main.
type supervisor struct {
	dir    string
	state  State
	logged chan struct{} // closed when all output is written
	fenced chan struct{} // closed at the deadline; nil without a fence
	exited chan os.Signal
}

// start starts the app and returns once its program runs.
func (s *supervisor) start() error {
	launch, err := readLaunch(os.Stdin)
	if err != nil {
		return err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	if err := unix.Dup3(null, 0, 0); err != nil { // the pipe had the secrets
		return os.NewSyscallError("dup3", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if s.state.BootID, err = BootID(); err != nil {
		return err
	}
	self, err := readEntry(os.Getpid())
	if err != nil {
		return err
	}
	s.state.Watchdog = self.Process
	if err := s.state.write(s.dir); err != nil {
		return err
	}
	output, err := s.openLog(launch.Log)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(output) }()
	var pipe unix.Stat_t
	if err := unix.Fstat(output, &pipe); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	s.state.Output = pipe.Ino
	if launch.Fence != nil {
		if err := s.fence(*launch.Fence); err != nil {
			return err
		}
	}
	s.exited = make(chan os.Signal, 1)
	signal.Notify(s.exited, unix.SIGCHLD)
	if err := s.exec(launch, null, output); err != nil {
		return err
	}
	if err := s.state.write(s.dir); err != nil {
		// An app that no later agent could find must not run.
		_ = unix.Kill(-s.state.App.PID, unix.SIGKILL)
		return err
	}
	return nil
}

func readLaunch(r io.Reader) (Launch, error) {
	var l Launch
	if err := json.UnmarshalRead(r, &l); err != nil {
		return Launch{}, errors.New("read launch: incomplete, the agent has died") // the error could quote the environment
	}
	return l, nil
}

// openLog begins to copy to the log files and returns the end of the pipe that the app writes to.
func (s *supervisor) openLog(limits LogLimits) (int, error) {
	w, err := newLogWriter(filepath.Join(s.dir, LogDir), limits)
	if err != nil {
		return 0, err
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, os.NewSyscallError("pipe2", err)
	}
	// Only our end: a program that finds its output non-blocking loses some of it.
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return 0, os.NewSyscallError("fcntl", err)
	}
	s.logged = make(chan struct{})
	go func() {
		defer close(s.logged)
		in := os.NewFile(uintptr(ends[0]), "output")
		if _, err := io.CopyBuffer(w, in, make([]byte, 64<<10)); err != nil {
			warn(fmt.Errorf("read output: %w", err))
		}
	}()
	return ends[1], nil
}

func (s *supervisor) fence(f Fence) error {
	a, err := newAlarm()
	if err != nil {
		return err
	}
	s.fenced = make(chan struct{})
	go func() {
		awaitDeadline(a, f.File, s.state.BootID, time.Duration(f.DeadlineNS), warn)
		close(s.fenced)
	}()
	return nil
}

// exec starts the program on this thread. ForkExec returns when exec has succeeded or why it has not.
func (s *supervisor) exec(l Launch, null, output int) error {
	attr := &syscall.ProcAttr{
		Dir:   l.Dir,
		Files: []uintptr{uintptr(null), uintptr(output), uintptr(output)},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	for _, kv := range l.Env {
		attr.Env = append(attr.Env, string(kv))
	}
	as := ""
	if c := l.Credential; c != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
		as = fmt.Sprintf(" as uid %d gid %d", c.UID, c.GID)
	}
	pid, err := syscall.ForkExec(l.Path, l.Args, attr)
	if err != nil {
		return fmt.Errorf("start %s in %s%s: %w%s", l.Path, l.Dir, as, err, execHint(err))
	}
	// Not reaped yet, so the id is the app's even if it has ended already.
	e, err := readEntry(pid)
	if err != nil {
		_ = unix.Kill(-pid, unix.SIGKILL)
		return err
	}
	s.state.App = e.Process
	return nil
}

// execHint says what else may be behind an error of which the kernel tells too little.
func execHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return " (or the interpreter that it names is missing)"
	case errors.Is(err, syscall.ENOEXEC):
		return " (no program for this machine, or a script without #!)"
	}
	return ""
}
