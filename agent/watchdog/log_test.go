//go:build linux

package watchdog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is written in whatever pieces, the files hold it all in order, and each but the last is full and not far beyond.
func TestLogFilesHoldWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		const size = 100
		w, err := newLogWriter(dir, LogLimits{Size: size, Keep: 1 << 20})
		if err != nil {
			rt.Fatal(err)
		}
		var all bytes.Buffer
		for _, piece := range rapid.SliceOf(rapid.StringMatching(`[ab\n]{0,250}`)).Draw(rt, "pieces") {
			all.WriteString(piece)
			if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
				rt.Fatal(n, err)
			}
		}
		_ = w.file.Close()
		numbers, err := RotatedLogs(dir)
		if err != nil {
			rt.Fatal(err)
		}
		var read bytes.Buffer
		for k, n := range numbers {
			data, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(n)))
			if err != nil || n != k+1 {
				rt.Fatal(n, err)
			}
			lastLine := data[bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n')+1:]
			if len(data) < size || !bytes.HasSuffix(data, []byte("\n")) || len(data)-len(lastLine) >= size {
				rt.Fatalf("file %d: %q", n, data)
			}
			read.Write(data)
		}
		data, err := os.ReadFile(filepath.Join(dir, LogCurrent))
		if err != nil {
			rt.Fatal(err)
		}
		if read.Write(data); read.String() != all.String() {
			rt.Fatalf("wrote %q\nread %q", all.String(), read.String())
		}
	})
}

func TestEndlessLineIsRotatedToo(t *testing.T) {
	dir := t.TempDir()
	w, err := newLogWriter(dir, LogLimits{Size: 1 << 10, Keep: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 10_000))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Size() > 1<<10+longestLine {
			t.Error(e.Name(), info.Size(), err)
		}
	}
}

func TestOutputOfAFullDiskIsCountedAndNoted(t *testing.T) {
	dir := t.TempDir()
	current := filepath.Join(dir, LogCurrent)
	if err := os.Symlink("/dev/full", current); err != nil {
		t.Fatal(err)
	}
	w, err := newLogWriter(dir, LogLimits{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := w.Write([]byte("lost\n")); n != 5 || err != nil { // the app must not notice
			t.Fatal(n, err)
		}
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	_ = w.file.Close()
	w.file = nil
	_, _ = w.Write([]byte("kept\n"))
	data, err := os.ReadFile(current)
	if want := fmt.Sprintf("[go-cluster: %d bytes of output lost: ", 15); err != nil || !strings.HasPrefix(string(data), want) ||
		!strings.HasSuffix(string(data), "no space left on device]\nkept\n") {
		t.Fatalf("%q, %v", data, err)
	}
}
