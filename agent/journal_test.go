package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

func report(seq uint64) api.StepReport {
	return api.StepReport{OrderSeq: seq, Migration: "m", App: "web", Instance: "web-0", Step: events.StepStart, Node: "node-1", Inc: "i",
		Detail: strings.Repeat("x\n", int(seq)), Result: &events.Result{Ports: map[string]int{"http": 1}}}
}

func openTestJournal(t *testing.T, dir string) *journal {
	t.Helper()
	j, err := openJournal(dir, "boot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// A crash may leave any prefix of what was written: every complete line is there, nothing else is, and the journal goes on.
func TestJournalTruncatedAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	j := openTestJournal(t, dir)
	var ends []int64
	for seq := range uint64(4) {
		if err := j.Append(report(seq + 1)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.size)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		dir := t.TempDir()
		path := filepath.Join(dir, "journal")
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j := openTestJournal(t, dir)
		for i, end := range ends {
			if _, ok := j.Get(uint64(i + 1)); ok != (end <= int64(n)) {
				t.Fatalf("cut at %d: order %d there: %t, its line ends at %d", n, i+1, ok, end)
			}
		}
		if err := j.Append(report(9)); err != nil {
			t.Fatal(err)
		}
		_ = j.Close()
		again := openTestJournal(t, dir)
		if got, ok := again.Get(9); !ok || got.Detail != report(9).Detail {
			t.Fatalf("cut at %d: what was appended after it is not there", n)
		}
	}
}

func TestJournalCorruption(t *testing.T) {
	dir := t.TempDir()
	j := openTestJournal(t, dir)
	for seq := range uint64(3) {
		if err := j.Append(report(seq + 1)); err != nil {
			t.Fatal(err)
		}
	}
	_ = j.Close()
	path := filepath.Join(dir, "journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for n := range whole {
		bad := bytes.Clone(whole)
		bad[n] ^= 0x20
		if bad[n] == '\n' || whole[n] == '\n' {
			continue // that makes or joins lines; each part is judged like any other
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(dir, "boot")
		if n < last {
			if err == nil {
				if line := bytes.IndexByte(whole[n:], ' '); line <= 8 && bytes.EqualFold(bad[n:n+1], whole[n:n+1]) {
					_ = j.Close()
					continue // the checksum in capital letters is the same checksum
				}
				t.Fatalf("byte %d of a line that is not the last was changed, and nobody noticed", n)
			}
			continue
		}
		if err != nil {
			t.Fatalf("byte %d of the last line was changed: %v", n, err)
		}
		if _, ok := j.Get(2); !ok {
			t.Fatalf("byte %d of the last line was changed, and the line before is gone", n)
		}
		_ = j.Close()
	}
}

// What an earlier boot left answers no order of this one, whatever a power failure made of it.
func TestJournalOfAnEarlierBoot(t *testing.T) {
	dir := t.TempDir()
	j := openTestJournal(t, dir)
	for seq := range uint64(3) {
		if err := j.Append(report(seq + 1)); err != nil {
			t.Fatal(err)
		}
	}
	_ = j.Close()
	path := filepath.Join(dir, "journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(whole[len(whole)/3 : len(whole)/2]) // blocks that did not reach the disk
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(dir, "boot"); err == nil {
		t.Fatal("in the same boot the damage was not noticed")
	}
	for range 2 {
		j, err := openJournal(dir, "another boot")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := j.Get(1); ok {
			t.Fatal("a result of another boot is there")
		}
		if err := j.Append(report(1)); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j, err = openJournal(dir, "another boot"); err != nil {
			t.Fatal(err)
		}
		if _, ok := j.Get(1); !ok {
			t.Fatal("a result of this boot is not there")
		}
		_ = j.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalCompacts(t *testing.T) {
	dir := t.TempDir()
	all := bytes.NewBuffer(checked([]byte("boot")))
	for seq := range uint64(journalCompact + 1) {
		line, err := journalLine(api.StepReport{OrderSeq: seq + 1})
		if err != nil {
			t.Fatal(err)
		}
		all.Write(line)
	}
	if err := os.WriteFile(filepath.Join(dir, "journal"), all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j := openTestJournal(t, dir)
		_, old := j.Get(journalCompact - journalKeep + 1)
		_, kept := j.Get(journalCompact - journalKeep + 2)
		_, newest := j.Get(journalCompact + 1)
		if old || !kept || !newest || len(j.byRef) != journalKeep {
			t.Fatalf("old %t, oldest kept %t, newest %t, %d in all", old, kept, newest, len(j.byRef))
		}
		_ = j.Close()
	}
}

// An agent runs for years: its journal is kept short while it does, and a later agent finds the same in it.
func TestJournalStaysShort(t *testing.T) {
	dir := t.TempDir()
	j := openTestJournal(t, dir)
	const last = 5*journalCompact + 7
	for seq := range uint64(last) {
		if err := j.Append(api.StepReport{OrderSeq: seq + 1}); err != nil {
			t.Fatal(err)
		}
		if len(j.byRef) > journalCompact {
			t.Fatalf("%d reports are kept after %d", len(j.byRef), seq+1)
		}
	}
	kept := len(j.byRef)
	_ = j.Close()
	info, err := os.Stat(filepath.Join(dir, "journal"))
	if err != nil || info.Size() != j.size {
		t.Fatalf("%d bytes, want %d: %v", info.Size(), j.size, err)
	}
	j = openTestJournal(t, dir)
	for seq := uint64(last); seq > last-journalKeep; seq-- {
		if r, ok := j.Get(seq); !ok || r.OrderSeq != seq {
			t.Fatalf("order %d is missing", seq)
		}
	}
	if len(j.byRef) != kept {
		t.Errorf("%d reports, there were %d", len(j.byRef), kept)
	}
}
