//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Scripts run the test binary under the name of the program.
func init() {
	if filepath.Base(os.Args[0]) == "go-cluster" {
		os.Exit(run(interruptible(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
}

// TestScripts plays sessions at a terminal, one promise each, on a cluster of real processes. Besides the commands of testscript a
// session has:
//
//	dev [flag...]             start a dev cluster; it stops at the session's end, and must stop well
//	go-cluster ...            the program; without "!" it must exit 0
//	exits N                   the last exit code, where it is not 0
//	json PATH WANT            what the last stdout has at PATH matches WANT as a whole; see jsonAt
//	until PATH WANT ...       repeat the command line until json PATH WANT holds
//	chain APP KIND...         the last stdout is an event log: the end of the app's last migration goes back to these, by its causes
//	capture NAME PATH         set a variable of the session to what the last stdout has at PATH
//	interrupted WANT ...      Ctrl-C once the program has printed WANT; what it printed is then in the file interrupted
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "go-cluster")); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("NATS_URL", "nats://127.0.0.1:1") // of nobody, until dev says which
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Values[sessionKey{}] = new(scriptSession)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"dev":     func(ts *testscript.TestScript, neg bool, args []string) { scriptDev(t, ts, neg, args) },
			"capture": scriptCapture, "go-cluster": scriptCLI, "exits": scriptExits, "json": scriptJSON, "until": scriptUntil, "chain": scriptChain,
			"interrupted": scriptInterrupted,
		},
	})
}

type sessionKey struct{}

// scriptSession is what one session remembers between its lines.
type scriptSession struct{ code int }

func sessionOf(ts *testscript.TestScript) *scriptSession {
	return ts.Value(sessionKey{}).(*scriptSession)
}

// scriptLimit bounds everything that a session waits for.
const scriptLimit = 30 * time.Second

// Of all that dev says, only warnings may come of what the sessions do.
var loggedFault = regexp.MustCompile(`(?m)^\S+\s+(error|dpanic|panic|fatal)\s.*|panic: .*`)

func scriptDev(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! dev")
	}
	cmd := scriptCommand(ts, append([]string{"dev", "--nats-port", "0", "--http-port", "0", "--lease-ttl", "5s"}, args...)...)
	log := &lines{}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err = <-ended:
		case <-time.After(scriptLimit):
			_ = cmd.Process.Kill()
			err = fmt.Errorf("does not stop: %w", <-ended)
		}
		if err != nil {
			t.Errorf("%s: dev: %v", ts.Name(), err)
		}
		if fault := loggedFault.FindString(log.String()); fault != "" {
			t.Errorf("%s: dev logged: %s", ts.Name(), fault)
		}
		ts.Logf("dev said:\n%s", log)
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		rest, readErr := io.ReadAll(stdout)
		waitErr := cmd.Wait()
		if len(rest) > 0 {
			waitErr = errors.Join(waitErr, fmt.Errorf("more than the ready line on stdout: %q", rest))
		}
		ended <- errors.Join(readErr, waitErr)
	}()
	if err != nil {
		ts.Fatalf("dev is not ready: %v\n%s", err, log)
	}
	at := regexp.MustCompile(`^ready nats=(\S+) http=(\S+) cluster=(\S+)\n$`).FindStringSubmatch(line)
	if at == nil {
		ts.Fatalf("dev said %q", line)
	}
	ts.Setenv("NATS_URL", at[1])
	ts.Setenv("HTTP_URL", at[2])
	ts.Setenv("DEV_PID", strconv.Itoa(cmd.Process.Pid))
}

// scriptCommand is the program as the session's shell would start it.
func scriptCommand(ts *testscript.TestScript, args ...string) *exec.Cmd {
	path, _, _ := strings.Cut(ts.Getenv("PATH"), string(filepath.ListSeparator))
	cmd := exec.Command(filepath.Join(path, "go-cluster"), args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "NATS_URL", "GO_CLUSTER"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

func scriptCLI(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("go-cluster", args...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("go-cluster: %v", err)
	}
	sessionOf(ts).code = code
	if neg != (code != 0) {
		ts.Fatalf("exit code %d", code)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: exits CODE")
	}
	if got := strconv.Itoa(sessionOf(ts).code); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH WANT")
	}
	got, err := jsonAt(ts.ReadFile("stdout"), args[0])
	ts.Check(err)
	if whole(ts, args[1]).MatchString(got) == neg {
		ts.Fatalf("%s is %s", args[0], got)
	}
}

func whole(ts *testscript.TestScript, pattern string) *regexp.Regexp {
	re, err := regexp.Compile(`^(?s:` + pattern + `)$`)
	ts.Check(err)
	return re
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 || args[2] != "go-cluster" {
		ts.Fatalf("usage: until PATH WANT go-cluster ARG...")
	}
	want := whole(ts, args[1])
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	last := ""
	for end := time.Now().Add(scriptLimit); time.Now().Before(end); <-look.C {
		out, err := scriptCommand(ts, args[3:]...).Output()
		if err != nil {
			last = err.Error()
			continue
		}
		if last, err = jsonAt(string(out), args[0]); err == nil && want.MatchString(last) {
			return
		}
		last = cmp.Or(last, string(out))
	}
	ts.Fatalf("%s is still %s", args[0], last)
}

func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME PATH")
	}
	got, err := jsonAt(ts.ReadFile("stdout"), args[1])
	ts.Check(err)
	ts.Setenv(args[0], got)
}

func scriptChain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: chain APP KIND...")
	}
	ts.Check(checkChain(ts.ReadFile("stdout"), args[0], args[1:]))
}

func scriptInterrupted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || args[1] != "go-cluster" {
		ts.Fatalf("usage: interrupted WANT go-cluster ARG...")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	cmd := scriptCommand(ts, args[2:]...)
	said := &lines{}
	cmd.Stdout, cmd.Stderr = said, said
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), scriptLimit)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !want.MatchString(said.String()) {
		select {
		case <-look.C:
		case err := <-ended:
			ts.Fatalf("ended by itself: %v\n%s", err, said)
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			ts.Fatalf("never said %s:\n%s", want, said)
		}
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	select {
	case <-ended:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		ts.Fatalf("Ctrl-C does not end it:\n%s", said)
	}
	sessionOf(ts).code = cmd.ProcessState.ExitCode()
	ts.Check(os.WriteFile(ts.MkAbs("interrupted"), bytes.Clone([]byte(said.String())), 0o666))
}
