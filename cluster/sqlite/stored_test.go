//go:build linux

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent/embedded"
)

// However something is committed, it is acknowledged once what was committed by then is stored, and not for what was only read or rolled back.
func TestWhatIsHeldBack(t *testing.T) {
	const insert = "INSERT INTO e VALUES (2)"
	for name, c := range map[string]struct {
		commits bool
		do      func(context.Context, *sql.DB) error
	}{
		"exec": {true, func(ctx context.Context, db *sql.DB) error { _, err := db.ExecContext(ctx, insert); return err }},
		"prepared": {true, func(ctx context.Context, db *sql.DB) error {
			s, err := db.PrepareContext(ctx, insert)
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			_, err = s.ExecContext(ctx)
			return err
		}},
		"transaction": {true, func(ctx context.Context, db *sql.DB) error {
			x, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			if _, err := x.ExecContext(ctx, insert); err != nil {
				return err
			}
			return x.Commit()
		}},
		"returning a row": {true, func(ctx context.Context, db *sql.DB) error {
			return db.QueryRowContext(ctx, insert+" RETURNING v").Scan(new(int))
		}},
		"returning rows": {true, func(ctx context.Context, db *sql.DB) error {
			rows, err := db.QueryContext(ctx, "INSERT INTO e VALUES (2), (3) RETURNING v")
			if err != nil {
				return err
			}
			defer func() { _ = rows.Close() }()
			for rows.Next() {
			}
			return rows.Err()
		}},
		"several statements": {true, func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "BEGIN; "+insert+"; COMMIT")
			return err
		}},
		"read": {false, func(ctx context.Context, db *sql.DB) error {
			return db.QueryRowContext(ctx, "SELECT count(*) FROM e").Scan(new(int))
		}},
		"read by exec": {false, func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "SELECT * FROM e")
			return err
		}},
		"rolled back": {false, func(ctx context.Context, db *sql.DB) error {
			x, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			if _, err := x.ExecContext(ctx, insert); err != nil {
				return err
			}
			return x.Rollback()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := at(t, t.TempDir(), embedded.App{})
			p.leads(1)
			p.exec("CREATE TABLE e (v INTEGER)")
			asked := 0
			if p.driver.AcknowledgeAfter("ledger-0", 2, func(context.Context) error { return nil }) {
				t.Error("commits of an epoch that is not there are held back")
			}
			if !p.driver.AcknowledgeAfter("ledger-0", 1, func(context.Context) error { asked++; return nil }) {
				t.Fatal("commits are not held back")
			}
			if err := c.do(t.Context(), p.db); err != nil || asked > 0 != c.commits || asked > 1 {
				t.Errorf("%v, asked %d times", err, asked)
			}
			p.driver.AcknowledgeAfter("ledger-0", 1, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := c.do(ctx, p.db); errors.Is(err, ErrNotStored) != c.commits || errors.Is(err, context.DeadlineExceeded) != c.commits {
				t.Errorf("without end: %v", err)
			}
			p.driver.AcknowledgeAfter("ledger-0", 1, nil)
			if err := c.do(t.Context(), p.db); err != nil {
				t.Errorf("at once again: %v", err)
			}
		})
	}
}

// Whoever waits when the instance steps down is told that its epoch is over, and holds up nobody.
func TestStepDownEndsTheWait(t *testing.T) {
	p := at(t, t.TempDir(), embedded.App{})
	p.leads(1)
	p.exec("CREATE TABLE e (v INTEGER)")
	waits := make(chan struct{})
	p.driver.AcknowledgeAfter("ledger-0", 1, func(ctx context.Context) error { close(waits); <-ctx.Done(); return context.Cause(ctx) })
	told := make(chan error, 1)
	go func() {
		_, err := p.db.ExecContext(context.WithoutCancel(t.Context()), "INSERT INTO e VALUES (1)")
		told <- err
	}()
	<-waits
	p.stepsDown()
	fenced(t, "a commit that waited", <-told)
	p.leads(2)
	if n := p.count(); n != 1 {
		t.Errorf("%d rows, want 1: it was committed", n)
	}
	p.exec("INSERT INTO e VALUES (2)") // and nothing of it is left
}
