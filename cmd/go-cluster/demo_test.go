//go:build linux

package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The demo also starts a service in a process of its own.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(run(interruptible(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole cluster")
	}
	o := performDemo(t, t.Context(), &lines{}, "demo")
	if o.code != exitDone || o.errors != "" {
		t.Fatalf("exit code %d\n%s\n%s", o.code, o.out, o.errors)
	}
	for _, a := range acts {
		if !strings.Contains(o.out, a.title) {
			t.Errorf("part %q is missing", a.title)
		}
	}
	for _, part := range []string{"All 38 checks held", "exit 3 after", "exit 8 after", "$ go-cluster node drain node-1 --timeout 5m", "node.labels.updated"} {
		if !strings.Contains(o.out, part) {
			t.Errorf("%q is missing", part)
		}
	}
	if strings.Contains(o.out, "\x1b") || strings.Contains(o.out, "✗") {
		t.Errorf("colour or a failed check:\n%s", o.out)
	}
}

// A check that does not hold ends the demo with what was expected and what was seen.
func TestDemoFails(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole cluster")
	}
	t.Setenv("PATH", os.Getenv("PATH"))
	out, errors := &lines{}, &lines{}
	s := &session{ctx: t.Context(), in: strings.NewReader(""), out: out, err: errors, began: time.Now()}
	cmd := demoCommand{interfere: func(d *demo) error {
		d.patience = 300 * time.Millisecond
		_, err := d.answer(t.Context(), exitDone, "app remove counter")
		return err
	}}
	err := cmd.Run(s)
	if codeOf(err) != exitError || errors.String() != "" {
		t.Errorf("exit code %d, error %v, stderr %s", codeOf(err), err, errors)
	}
	for _, part := range []string{"✗ counter answers on node-1", "expected: an answer from node-1 and one process", "no such app", "a check failed after"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is missing in:\n%s", part, out)
		}
	}
	if strings.Contains(out.String(), acts[1].title) || strings.Contains(out.String(), "checks held in") {
		t.Errorf("it went on:\n%s", out)
	}
	checkNothingLeft(t, out.String())
}

func TestDemoIsInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole cluster")
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &lines{}
	go func() { // in the middle of the drain
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for ctx.Err() == nil && !strings.Contains(out.String(), "web-0 node-1 → node-3: started") && !strings.Contains(out.String(), "web-0 node-1 → node-2: started") {
			<-look.C
		}
		interrupt()
	}()
	if o := performDemo(t, ctx, out, "demo", "--verbose"); o.code != exitInterrupted || strings.Contains(o.out, "✗") || strings.Contains(o.out, acts[2].title) {
		t.Errorf("exit code %d\n%s\n%s", o.code, o.out, o.errors)
	}
}

// With --keep everything answers until Ctrl-C, which is then the end that was asked for.
func TestDemoKeeps(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole cluster")
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &lines{}
	asked := make(chan outcome, 1)
	go func() {
		defer interrupt()
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for !strings.Contains(out.String(), "runs on until Ctrl-C") {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
		}
		asked <- cli(ctx, "", "--server", natsOf(out.String()), "app", "move", "counter")
	}()
	if o := performDemo(t, ctx, out, "demo", "--keep"); o.code != exitDone {
		t.Errorf("exit code %d\n%s\n%s", o.code, o.out, o.errors)
	}
	if o := <-asked; o.code != exitDone {
		t.Errorf("app move after the demo: %+v", o)
	}
}

// performDemo runs a command line and checks that it leaves nothing behind.
func performDemo(t *testing.T, ctx context.Context, out *lines, args ...string) outcome {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")) // the demo puts a directory before it
	t.Setenv("NATS_CONTEXT", "")
	t.Setenv("NATS_URL", "nats://127.0.0.1:1") // of no interest to it
	errors := &lines{}
	code := run(ctx, args, strings.NewReader(""), out, errors)
	checkNothingLeft(t, out.String())
	return outcome{code: code, out: out.String(), errors: errors.String()}
}

func checkNothingLeft(t *testing.T, out string) {
	t.Helper()
	at := natsOf(out)
	if at == "" {
		t.Fatalf("it does not say where NATS answers:\n%s", out)
	}
	if left, err := appProcesses(at); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, dir := range regexp.MustCompile(`/\S*/go-cluster-dev-\d+`).FindAllString(out, -1) {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}
