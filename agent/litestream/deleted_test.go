//go:build linux

package litestream

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/spec"
)

// deletedStillOpen lists what this process has open below a directory that has no name any more.
func deletedStillOpen(t *testing.T, dir string) (out []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir) && strings.HasSuffix(to, " (deleted)") {
			out = append(out, to)
		}
	}
	return out
}

// What is deleted with its instance gives its room back to the disk, also where the shipping was given up before its end, and not with the agent
// only.
func TestDeletedDatabaseIsNotKeptOpen(t *testing.T) {
	for name, process := range map[string]*spec.Process{"a program's": {Command: []string{"x"}}, "an app's of this process": nil} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			r, d := l.Machine(t, "one")
			d.App.Process = process
			l.giveUp(t, r, d)
			if err := os.RemoveAll(filepath.Dir(d.Path)); err != nil {
				t.Fatal(err)
			}
			other := d
			other.Dir, other.Path = filepath.Join(l.dir, "other", "own"), filepath.Join(l.dir, "other", "ledger.db")
			if err := os.Mkdir(filepath.Join(l.dir, "other"), 0o700); err != nil {
				t.Fatal(err)
			}
			if process == nil { // it is let go of when the next database is looked at
				l.giveUp(t, r, other)
			}
			if open := deletedStillOpen(t, l.dir); len(open) > 0 {
				t.Errorf("still open: %q", open)
			}
		})
	}
}

// giveUp leads an epoch of which something is shipped, and gives it up.
func (l *lab) giveUp(t *testing.T, r agent.Replication, d agent.Data) {
	t.Helper()
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 1)
	if _, err := lead.Sync(limit(t)); err != nil {
		t.Fatal(err)
	}
	a.Close(t)
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
}
