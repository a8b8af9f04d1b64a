//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/examples/journal"
	"github.com/go-cluster/go-cluster/transport"
)

func (c *cluster) journal(app string) string { return filepath.Join(c.dir, app+".journal") }

// life is one process as its journal shows it. Times are CLOCK_BOOTTIME.
type life struct {
	node        string
	epoch       uint64
	pid         int
	first, last time.Duration
	lines       int
}

func (l life) String() string {
	return fmt.Sprintf("%s epoch %d pid %d from %s to %s, %d lines", l.node, l.epoch, l.pid, l.first, l.last, l.lines)
}

// lives reads a journal: what each process of a singleton has written, in the order of the file.
func lives(t testing.TB, file string) (all []life, numbers []uint64) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l journal.Line
		if json.Unmarshal(line, &l) != nil || line[len(line)-1] != '\n' {
			continue // its writer was killed, and nobody has seen the number
		}
		numbers = append(numbers, l.N)
		at := time.Duration(l.Boottime)
		if n := len(all); n > 0 && all[n-1].pid == l.PID && all[n-1].epoch == l.Epoch && all[n-1].node == l.Node {
			all[n-1].first, all[n-1].last = min(all[n-1].first, at), max(all[n-1].last, at)
			all[n-1].lines++
			continue
		}
		all = append(all, life{node: l.Node, epoch: l.Epoch, pid: l.PID, first: at, last: at, lines: 1})
	}
	return all, numbers
}

// faults says what is wrong with a singleton's journal: lives that overlap, one on another node whose epoch is no higher, a gap in
// the numbers.
func faults(all []life, numbers []uint64) (bad []string) {
	for i, n := range numbers {
		if n != uint64(i+1) {
			bad = append(bad, fmt.Sprintf("number %d is at position %d", n, i+1))
			break
		}
	}
	for i := 1; i < len(all); i++ {
		was, is := all[i-1], all[i]
		switch {
		case is.first <= was.last:
			bad = append(bad, fmt.Sprintf("two lives overlap: %s, and %s", was, is))
		case is.epoch < was.epoch, is.epoch == was.epoch && is.node != was.node:
			bad = append(bad, fmt.Sprintf("the epoch does not rise: %s, then %s", was, is))
		}
	}
	return bad
}

// alone checks by its journal that a singleton never ran twice at a time and lost no number.
func (c *cluster) alone(app string) {
	c.t.Helper()
	aloneIn(c.t, c.journal(app))
}

func aloneIn(t testing.TB, journal string) {
	t.Helper()
	all, numbers := lives(t, journal)
	bad := faults(all, numbers)
	if len(bad) == 0 {
		return
	}
	for _, b := range bad {
		t.Error(b)
	}
	var b strings.Builder
	for _, l := range all {
		fmt.Fprintln(&b, l)
	}
	t.Logf("lives in %s:\n%s", filepath.Base(journal), b.String())
}

// writes waits until the app goes on writing its journal.
func (c *cluster) writes(app string) {
	c.t.Helper()
	now := transport.Boottime()
	until(c.t, app+" goes on with its journal", limit, func() bool {
		all, _ := lives(c.t, c.journal(app))
		return len(all) > 0 && all[len(all)-1].last > now
	})
}

// What the other tests rely on: two lives that overlap, an epoch that does not rise and a lost number are found.
func TestFaultsOfAJournal(t *testing.T) {
	line := func(node string, epoch, pid, boottime, n int) string {
		return fmt.Sprintf(`{"node":%q,"epoch":%d,"pid":%d,"boottime":%d,"n":%d}`+"\n", node, epoch, pid, boottime, n)
	}
	torn := `{"node":"n1","epo` + "\n"
	for want, text := range map[string]string{
		"":                        line("n1", 1, 7, 10, 1) + line("n1", 1, 7, 20, 2) + torn + line("n1", 1, 8, 30, 3) + line("n2", 2, 9, 40, 4),
		"two lives overlap":       line("n1", 1, 7, 10, 1) + line("n2", 2, 9, 20, 2) + line("n1", 1, 7, 20, 3),
		"the epoch does not rise": line("n1", 3, 7, 10, 1) + line("n2", 3, 9, 20, 2),
		"number 3 is at position": line("n1", 1, 7, 10, 1) + line("n1", 1, 7, 20, 3),
	} {
		file := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		bad := faults(lives(t, file))
		if want == "" && len(bad) > 0 || want != "" && (len(bad) == 0 || !strings.Contains(bad[0], want)) {
			t.Errorf("want %q: %q", want, bad)
		}
	}
}
