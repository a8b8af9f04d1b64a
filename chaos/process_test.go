//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a command that can be killed and started again with the same arguments. Its output is appended to one file.
type process struct {
	name string
	argv []string
	env  []string // besides the test's own
	log  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	fmt.Fprintf(f, "---- %s %s starts as %d\n", time.Now().Format("15:04:05.000"), p.name, cmd.Process.Pid)
	p.cmd, p.done = cmd, done
	return nil
}

// kill ends the process with SIGKILL, and nothing but it. It is safe to call from any goroutine, and more than once.
func (p *process) kill() {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	_ = cmd.Process.Kill()
	p.note("killed")
	<-done
}

func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(s.String())
	return p.cmd.Process.Signal(s)
}

func (p *process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *process) exitCode() int {
	<-p.ended()
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// note writes what the test has done to the process into its log.
func (p *process) note(what string) {
	if f, err := os.OpenFile(p.log, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		fmt.Fprintf(f, "---- %s %s\n", time.Now().Format("15:04:05.000"), what)
		_ = f.Close()
	}
}

// seen is a process of the process table.
type seen struct {
	pid  int
	argv []string
	env  []string
}

func (s seen) getenv(name string) string {
	for _, kv := range s.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// processesOf returns the live processes that have the path of dir in their arguments or environment: everything that was ever
// started from there, whoever its parent is. The calling process and its guardian are not among them.
func processesOf(dir string) []seen {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []seen
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		argv, err1 := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, err2 := os.ReadFile(filepath.Join("/proc", e.Name(), "environ")) // of a zombie both are empty
		if err1 != nil || err2 != nil || !bytes.Contains(argv, []byte(dir)) && !bytes.Contains(env, []byte(dir)) {
			continue
		}
		p := seen{pid: pid, argv: split(argv), env: split(env)}
		if p.getenv(roleVariable) != roleGuardian {
			out = append(out, p)
		}
	}
	return out
}

func split(b []byte) []string { return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00") }

func describe(all []seen) string {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "  %d %s\n", p.pid, strings.Join(p.argv, " "))
	}
	return b.String()
}

// killAll kills every process of dir, and what they start meanwhile, and returns when none is left.
func killAll(dir string) error {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(20 * time.Second)
	for {
		left := processesOf(dir)
		if len(left) == 0 {
			return nil
		}
		for _, p := range left {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		select {
		case <-look.C:
		case <-deadline:
			return fmt.Errorf("processes that cannot be killed:\n%s", describe(left))
		}
	}
}

// until polls cond and fails the test when it does not hold within limit.
func until(t testing.TB, what string, limit time.Duration, cond func() bool) {
	t.Helper()
	if !within(t, limit, cond) {
		t.Fatalf("not within %s: %s", limit, what)
	}
}

// within polls cond and reports whether it came to hold within limit.
func within(t testing.TB, limit time.Duration, cond func() bool) bool {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(limit)
	for !cond() {
		select {
		case <-look.C:
		case <-deadline:
			return cond()
		}
	}
	return true
}

// pass lets real time go by: what is waited for is that nothing happens meanwhile, or how long an outage lasts.
func pass(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test was ended")
	}
}
