//go:build linux

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
			p.driver.AcknowledgeAfter("ledger-0", 2, func(context.Context) error { return errors.New("of another epoch") })
			if err := c.do(t.Context(), p.db); err != nil {
				t.Errorf("nothing holds it back: %v", err)
			}
			p.driver.AcknowledgeAfter("ledger-0", 1, func(context.Context) error { asked++; return nil })
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

// What is to be waited for before the epoch has begun is waited for from its first moment on, prepared or not: the program may have been started
// again since. OnActive itself does not wait with its own context.
func TestHeldBackFromTheFirstMoment(t *testing.T) {
	for _, prepared := range []bool{true, false} {
		t.Run(fmt.Sprintf("prepared %t", prepared), func(t *testing.T) { heldBackFromTheFirstMoment(t, prepared) })
	}
}

func heldBackFromTheFirstMoment(t *testing.T, prepared bool) {
	var p *place
	asked := 0
	own, other := errors.New("not called"), errors.New("not called")
	p = at(t, t.TempDir(), embedded.App{OnActive: func(ctx context.Context) error {
		_, own = p.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS e (v INTEGER)")
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		own = errors.Join(own, func() error { _, err := p.db.ExecContext(inner, "INSERT INTO e VALUES (1)"); return err }())
		if asked > 0 {
			own = errors.Join(own, errors.New("it waited"))
		}
		_, other = p.db.ExecContext(context.WithoutCancel(t.Context()), "INSERT INTO e VALUES (2)")
		return nil
	}})
	if prepared {
		if _, err := p.driver.Prepare(t.Context(), p.in); err != nil {
			t.Fatal(err)
		}
	}
	p.driver.AcknowledgeAfter("ledger-0", 3, func(context.Context) error { asked++; return nil })
	p.leads(3)
	if own != nil || other != nil || asked != 1 {
		t.Errorf("its own: %v, another's: %v, asked %d times", own, other, asked)
	}
	p.exec("INSERT INTO e VALUES (3)")
	if asked != 2 {
		t.Errorf("after it has begun: asked %d times", asked)
	}
	p.driver.AcknowledgeAfter("ledger-0", 3, nil)
	p.stepsDown()
	p.leads(4)
	if asked != 2 {
		t.Errorf("under the next epoch: asked %d times", asked)
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
