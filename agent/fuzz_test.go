package agent

import (
	"bytes"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// Whatever a crash left of a journal, it is read up to its last whole line or refused, and what was read is written the same again.
func FuzzJournal(f *testing.F) {
	line, err := journalLine(api.StepReport{OrderSeq: 7, Migration: "m-1", App: "db", Instance: "db-0", Step: events.StepActivate, Node: "n1", Inc: "x", Failed: true, Detail: "é"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(bytes.Clone(line), line...))
	f.Add(append(bytes.Clone(line), line[:20]...))
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		reports, size, err := readJournal(data)
		if err != nil {
			return
		}
		if size > int64(len(data)) {
			t.Fatalf("%d bytes of %d were read", size, len(data))
		}
		var again []byte
		for _, r := range reports {
			line, err := journalLine(r)
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, line...)
		}
		twice, _, err := readJournal(again)
		if err != nil || len(twice) != len(reports) {
			t.Errorf("%d reports, written again %d: %v", len(reports), len(twice), err)
		}
	})
}
