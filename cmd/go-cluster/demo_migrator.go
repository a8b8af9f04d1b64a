//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/go-cluster/go-cluster/events"
)

// demoMigrator is `go-cluster serve migrator` in a process of its own.
type demoMigrator struct {
	pid    int
	killed func()        // the process, at once; harmless when it has ended
	ended  chan struct{} // closed when it has
	stderr *bytes.Buffer // to be read after ended
}

// startMigrator starts life n of the migrator and returns when it answers.
func (c *demoCluster) startMigrator(ctx context.Context, n int) (*demoMigrator, error) {
	replica := fmt.Sprintf("migrator-%d", n)
	cmd := exec.Command(watchdogArgv()[0], "serve", "migrator", "--server", c.at.servers, "--cluster", demoName, "--context=", "--creds=",
		"--http-addr", "127.0.0.1:0", "--no-bootstrap", "--replica", replica)
	m := &demoMigrator{ended: make(chan struct{}), stderr: &bytes.Buffer{}}
	cmd.Stderr = m.stderr
	// It has its own process group, so that Ctrl-C reaches the demo alone, and it dies with the demo: more exactly with the thread that
	// started it, which is therefore kept for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(m.ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the migrator: %w", err)
	}
	m.pid, m.killed = cmd.Process.Pid, func() { _ = cmd.Process.Kill() }
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-m.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := awaitAnswers(ctx, c.plane.base.NC, replica, []string{events.Migrator}); err != nil {
		m.kill()
		return nil, fmt.Errorf("the migrator does not answer: %w: %s", err, bytes.TrimSpace(m.stderr.Bytes()))
	}
	return m, nil
}

// kill is kill -9. It returns when the process is gone.
func (m *demoMigrator) kill() {
	m.killed()
	<-m.ended
}
