//go:build linux

package litestream

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// pinTime is how long a pin waits for a writer: as long as Litestream does for its own.
const pinTime = time.Second

// pin keeps the write-ahead log of a database from being begun anew. Litestream notes where in the log each page is and reads it there
// afterwards, in the trust that its read transaction keeps the log as it is. That is so unless the log had been copied into the database
// to its end when that transaction began: SQLite then has it read the database alone, the app's next commit overwrites the log from its
// start, and what is read is other pages than were noted.
type pin struct {
	db   *sql.DB
	read *sql.Conn
}

// pinned pins a database that has to be one. A read transaction that was begun while the write lock was held pins the log once the writer
// has written: either the log was complete, then the writer began a new one, and nothing of that can be copied past a reader of the
// database alone; or it was not, and then the reader uses it. It makes Litestream's tables, too: SQLite, which Litestream leaves the
// waiting to, looks at the lock every 100 ms and misses each gap of a busy writer; here it is looked at each millisecond.
func pinned(ctx context.Context, path string) (_ *pin, err error) {
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	p := &pin{db: db}
	defer func() {
		if err != nil {
			err = fmt.Errorf("prepare %s for shipping: %w", path, errors.Join(err, p.release()))
		}
	}()
	write, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, write.Close()) }()
	if err := begin(ctx, write); err != nil {
		return nil, err
	}
	if p.read, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		on        *sql.Conn
		statement string
	}{
		{p.read, "BEGIN"},
		{p.read, "SELECT count(*) FROM sqlite_schema"},
		{write, "CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)"},
		{write, "CREATE TABLE IF NOT EXISTS _litestream_lock (id INTEGER)"},
		{write, "INSERT INTO _litestream_seq (id, seq) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET seq = seq + 1"},
		{write, "COMMIT"},
	} {
		if _, err := s.on.ExecContext(ctx, s.statement); err != nil {
			return nil, fmt.Errorf("%s: %w", s.statement, err)
		}
	}
	return p, nil
}

// begin takes the write lock. The error is SQLite's where a writer left no gap.
func begin(ctx context.Context, c *sql.Conn) error {
	if _, err := c.ExecContext(ctx, "PRAGMA busy_timeout=0"); err != nil {
		return err
	}
	for began := time.Now(); ; {
		_, err := c.ExecContext(ctx, "BEGIN IMMEDIATE")
		if !busy(err) {
			return err
		}
		if time.Since(began) > pinTime {
			return fmt.Errorf("its app writes all the time: %w", err)
		}
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// release lets go. The last one to close a database puts its log away, shipped or not: that is for whoever has it open still.
func (p *pin) release() error {
	var err error
	if p.read != nil {
		err = p.read.Close() // into the pool, which is closed
	}
	return errors.Join(err, p.db.Close())
}
