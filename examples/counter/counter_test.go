//go:build linux

package counter

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/examples/journal"
	"github.com/go-cluster/go-cluster/spec"
)

func TestSpecIsValid(t *testing.T) {
	apps, err := spec.DecodeApps(Spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range apps {
		if err := a.ValidateApplied(); err != nil {
			t.Error(err)
		}
		if faults := a.Unsupported(); len(faults) > 0 {
			t.Error(faults)
		}
	}
	if len(apps) != 1 || apps[0].Name != "counter" || apps[0].Mode != spec.Singleton {
		t.Errorf("apps %+v", apps)
	}
}

// The count goes on where the last process ended, and a line that was being written when its process was killed does not count.
func TestCountGoesOnFromTheJournal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	run(t, name, "1", 3)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"node":"node-1","ep`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	before := len(lines(t, name))
	run(t, name, "2", before+3)
	all := lines(t, name)
	var boot int64
	for i, l := range all {
		if l.N != uint64(i+1) || l.Boottime <= boot || l.PID != os.Getpid() || l.Node != "node-1" {
			t.Errorf("line %d: %+v after boottime %d", i, l, boot)
		}
		boot = l.Boottime
		if want := uint64(1); i < before && l.Epoch != want {
			t.Errorf("line %d: epoch %d, want %d", i, l.Epoch, want)
		}
	}
	if last := all[len(all)-1]; last.Epoch != 2 {
		t.Errorf("last line %+v: want epoch 2", last)
	}
}

// run runs the program until the journal has n whole lines.
func run(t *testing.T, name, epoch string, n int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	env := map[string]string{"GC_ADDRESS": "127.0.0.1", "GC_PORT_HTTP": "0", "GC_NODE": "node-1", "GC_EPOCH": epoch, "JOURNAL": name, "INTERVAL": "1ms"}
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, func(k string) string { return env[k] }) }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for len(lines(t, name)) < n {
		select {
		case err := <-ended:
			t.Fatalf("ended early: %v", err)
		case <-look.C:
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// lines returns the whole lines of a journal, without torn ones.
func lines(t *testing.T, name string) []journal.Line {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []journal.Line
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var l journal.Line
		if json.Unmarshal(s.Bytes(), &l) == nil {
			out = append(out, l)
		}
	}
	return out
}

func TestRefusesWhatItCannotRead(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"interval": {"INTERVAL": "fast"},
		"epoch":    {"GC_EPOCH": "-1"},
		"journal":  {"JOURNAL": t.TempDir()},
	} {
		if err := Run(t.Context(), func(k string) string { return env[k] }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
