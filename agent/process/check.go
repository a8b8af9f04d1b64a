//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// check is one health check, ready to run.
type check struct {
	name string // kind and target
	run  func(context.Context) error
}

// once runs the check; one that is not done in time has failed.
func (c check) once(ctx context.Context, timeout time.Duration) error {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := c.run(within)
	if err != nil && errors.Is(within.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", timeout)
	}
	return err
}

// check makes the check that h declares, for the instance as it runs; op is held.
func (d *Driver) check(in *instance, h spec.Health) (check, error) {
	vars := d.vars(in)
	switch {
	case h.HTTP != "":
		url, err := spec.Expand(h.HTTP, vars)
		if err != nil {
			return check{}, fmt.Errorf("http: %w", err)
		}
		return check{"http " + url, func(ctx context.Context) error { return checkHTTP(ctx, url) }}, nil
	case h.TCP != "":
		address, err := spec.Expand(h.TCP, vars)
		if err != nil {
			return check{}, fmt.Errorf("tcp: %w", err)
		}
		return check{"tcp " + address, func(ctx context.Context) error { return checkTCP(ctx, address) }}, nil
	case len(h.Exec) > 0:
		p, err := d.program(in, h.Exec)
		if err != nil {
			return check{}, fmt.Errorf("exec: %w", err)
		}
		return check{"exec " + p.path, func(ctx context.Context) error { return checkExec(ctx, p) }}, nil
	}
	return check{}, errors.New("none of http, tcp and exec is set")
}

// checkHTTP passes for 200…399. A redirection is an answer and is not followed.
func checkHTTP(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "go-cluster-health")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return errors.Unwrap(err) // the outer one repeats the URL
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		if line, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n"); line != "" {
			return fmt.Errorf("status %s: %q", resp.Status, line)
		}
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

func checkTCP(ctx context.Context, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// checkExec passes for exit code 0. The command runs as the app's user, in its environment and directory, in a group of its own
// that does not outlive the check nor its main process the agent.
func checkExec(ctx context.Context, p program) error {
	output, err := runProgram(ctx, p)
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(output)
	if text = text[strings.LastIndexByte(text, '\n')+1:]; text != "" {
		return fmt.Errorf("%w: %q", err, strings.ToValidUTF8(text[:min(len(text), 200)], "?"))
	}
	return err
}

// runProgram runs a program next to its app to its end, and returns the beginning of what it wrote.
func runProgram(ctx context.Context, p program) (string, error) {
	runtime.LockOSThread() // the death signal is sent when the thread that forked ends
	defer runtime.UnlockOSThread()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, p.path)
	cmd.Args, cmd.Env, cmd.Dir = p.args, p.env, p.dir
	both := &limited{&output, 4096}
	cmd.Stdout, cmd.Stderr = both, both
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c := p.id.credential; c != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for a pipe that something kept open
	err := cmd.Run()
	return output.String(), err
}

// limited drops what goes beyond room bytes.
type limited struct {
	to   *bytes.Buffer
	room int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.room)
	l.room -= n
	l.to.Write(p[:n])
	return len(p), nil
}
