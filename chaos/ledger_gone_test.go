//go:build linux

package chaos

import (
	"errors"
	"os"
	"testing"
)

// A database that somebody has taken away under a running program is missed before anything is stopped: the move says so, the program serves on with the
// file that it has open, and what it wrote meanwhile moves once the file is back.
func TestDatabaseTakenAway(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, calm, "n1", "n2")
	from := c.applyLedger(app)
	w := c.writer(app, "a")
	w.more()
	until(t, "it is shipped", limit, func() bool { return c.dataOn(app, from).Seq > 0 })
	path := c.database(app, from)
	carry := func(from, to string) {
		t.Helper()
		for _, tail := range []string{"-wal", "-shm", ""} {
			if err := os.Rename(from+tail, to+tail); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	away := t.TempDir() + "/ledger.db"
	carry(path, away)
	c.staysFor(app, from, "ledger.db", "was there")
	w.more()
	carry(away, path)
	w.more()
	c.moveLedger(app, from, other(from))
	w.more()
	c.audits(app, false, w)
}
