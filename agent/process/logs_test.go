//go:build linux

package process

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/agent/watchdog"
)

func TestFollowOverRotation(t *testing.T) {
	const lines = 5000
	h := open(t, t.TempDir(), func(o *Options) { o.LogLimits = watchdog.LogLimits{Size: 4 << 10, Keep: 1000} })
	if _, err := h.Prepare(t.Context(), testInstance("web-0", "print", fmt.Sprint(lines))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, w := io.Pipe()
	followed := make(chan error, 1)
	go func() { followed <- h.Logs(ctx, "web-0", 0, true, w) }() // before there is anything
	h.start(testInstance("web-0", "print", fmt.Sprint(lines)))
	in := bufio.NewScanner(r)
	for n := range lines {
		if !in.Scan() {
			t.Fatalf("end at line %d: %v", n, <-followed)
		}
		if want := fmt.Sprintf("line %06d of the output", n); in.Text() != want {
			t.Fatalf("%q, want %q", in.Text(), want)
		}
	}
	cancel()
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	numbers, err := watchdog.RotatedLogs(filepath.Join(h.instancesDir(), "web-0", watchdog.LogDir))
	if err != nil || len(numbers) < lines*27/(5<<10) {
		t.Fatalf("%d full files, %v", len(numbers), err)
	}
	for _, n := range []int{0, 1, 2, 200, lines, lines + 1, -1} {
		var out bytes.Buffer
		if err := h.Logs(t.Context(), "web-0", n, false, &out); err != nil {
			t.Fatal(err)
		}
		want := n
		if n < 0 || n > lines {
			want = lines
		}
		got := strings.SplitAfter(out.String(), "\n")
		if len(got)-1 != want || want > 0 && got[0] != fmt.Sprintf("line %06d of the output\n", lines-want) {
			t.Errorf("tail %d: %d lines from %q", n, len(got)-1, got[0])
		}
	}
}

func TestLogsAreBoundedAndOutliveStarts(t *testing.T) {
	const size, keep = 2 << 10, 3
	h := open(t, t.TempDir(), func(o *Options) { o.LogLimits = watchdog.LogLimits{Size: size, Keep: keep} })
	for range 2 {
		h.start(testInstance("web-0", "print", "1000"))
		h.awaitLines("web-0", "line 000999", 1)
		if _, err := h.Stop(t.Context(), "web-0"); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(h.instancesDir(), "web-0", watchdog.LogDir))
	if err != nil || len(entries) != keep {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Size() > size+27 {
			t.Error(e.Name(), info.Size(), err)
		}
	}
}

func TestLogsOfNobody(t *testing.T) {
	h := open(t, t.TempDir())
	for _, id := range []string{"web-0", "", "../x", "."} {
		if err := h.Logs(t.Context(), id, -1, false, io.Discard); id != "." && err == nil {
			t.Errorf("%q: no error", id)
		}
	}
}

// A reader that was away for long goes on with what is kept, and says so.
func TestCursorSaysWhatItMissed(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(watchdog.LogCurrent, "one\n")
	c, err := openTail(dir, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var out bytes.Buffer
	if err := c.copy(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, watchdog.LogCurrent), filepath.Join(dir, "1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "1")); err != nil {
		t.Fatal(err)
	}
	put("4", "four\n")
	put(watchdog.LogCurrent, "five\n")
	if err := c.copy(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "one\n[go-cluster: 2 log files were removed before they were read]\nfour\nfive\n"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}
