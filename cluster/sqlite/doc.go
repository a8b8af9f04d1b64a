// Package sqlite gives a singleton of package cluster a SQLite database that moves with it: Open returns a *sql.DB that works on the node
// where the app is active, under its epoch, and nowhere else. Moves, drains, evacuations, label changes and takeovers bring it along.
//
//	ledger := cluster.App("ledger", cluster.Singleton())
//	db := sqlite.Open(ledger, "ledger.db")
//	ledger.OnActive(func(ctx context.Context) error {
//		_, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS entries (text TEXT)")
//		return err
//	})
//
// # When it is open
//
// From before OnActive until after the OnStandby of the step-down, or OnStop, has returned. Then what still runs is
// interrupted (a Next of Rows is waited for), transactions are rolled back, every connection is closed, the rest is shipped, and only then may
// another node begin. At any other time each use
// returns an error that is cluster.ErrFenced. The *sql.DB itself stays: after the next OnActive here it has the database again, with
// everything that others wrote meanwhile. It need not be closed.
//
// # One writer
//
// A commit is refused with cluster.ErrFenced, and changes nothing, unless the instance may write at that moment (see cluster.Application.Fence), and
// is reported as fenced, too, unless it still may once it is on disk: what such a commit wrote may be lost. So whatever Exec or Commit
// has acknowledged was acknowledged before anybody else could begin. This holds for a program that was stopped in the middle. A
// statement that writes and returns rows is acknowledged by Scan of a Row, or when Rows were read to the end or closed without an error.
//
// # What is promised
//
// A planned move loses no acknowledged commit. A takeover of a lost node may lose what was committed after the newest shipping, which is
// every 0.1 s, and says so in the cluster's log; docs/data.md has the table. With cluster.MoveRequest.Sync a commit in the final phase of a move is
// acknowledged only once it is stored, so that a source that is lost then loses none; see ErrNotStored. Where not one may ever be lost, use
// cluster.Application.Log.
//
// # What to know
//
// The database is in WAL mode with synchronous=FULL, a busy timeout of 5 s and no automatic checkpoint, which is left to Litestream; a
// transaction that is not read-only takes the write lock when it begins. Litestream adds the tables _litestream_seq and _litestream_lock.
//
// It is modernc.org/sqlite, and must be: Litestream, in the same process, has the same files open. A second SQLite library in one
// process (mattn/go-sqlite3, ncruces/go-sqlite3) on the same file would break the locks of both, since POSIX locks belong to a process and go with
// the first descriptor of the file that is closed. For the same reason, do not open and close the file yourself while the app is active.
//
// A program that does not import this package links no SQLite. Linux only.
package sqlite
