//go:build linux

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/spec"
)

// place is a node whose clock and lease a test moves.
type place struct {
	t      *testing.T
	driver *embedded.Driver
	db     *sql.DB
	d      *database
	boot   atomic.Int64
	in     agent.Instance
}

// at returns a node with a directory; code may be zero.
func at(t *testing.T, dir string, code embedded.App, pragmas ...string) *place {
	t.Helper()
	p := &place{t: t, d: &database{app: "ledger", file: "ledger.db", pragmas: pragmas}}
	p.db = sql.OpenDB(p.d)
	code.Name = "ledger"
	p.driver = embedded.New(embedded.Options{Dir: dir, Apps: []embedded.App{p.d.around(code)}, Limit: 10 * time.Second,
		Boot: func() time.Duration { return time.Duration(p.boot.Load()) }})
	p.driver.Extend(time.Minute)
	p.in = agent.Instance{ID: "ledger-0", App: spec.App{Name: "ledger"}, Role: api.RoleActive, Fenced: true}
	t.Cleanup(func() {
		if err := p.driver.Kill("ledger-0"); err != nil {
			t.Error(err)
		}
		_ = p.db.Close()
	})
	return p
}

func (p *place) begins(epoch uint64) error {
	p.in.Epoch = epoch
	_, err := p.driver.Start(context.WithoutCancel(p.t.Context()), p.in)
	return err
}

func (p *place) leads(epoch uint64) {
	p.t.Helper()
	if err := p.begins(epoch); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) stepsDown() {
	p.t.Helper()
	if _, err := p.driver.Demote(p.t.Context(), "ledger-0"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) exec(query string, args ...any) {
	p.t.Helper()
	if _, err := p.db.ExecContext(context.WithoutCancel(p.t.Context()), query, args...); err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
}

func (p *place) count() (n int) {
	p.t.Helper()
	if err := p.db.QueryRowContext(p.t.Context(), "SELECT count(*) FROM e").Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

func fenced(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, cluster.ErrFenced) {
		t.Errorf("%s: %v", what, err)
	}
}

// However something is written, it is refused and nothing of it stays once the lease is over, as it is for a program that was stopped in
// the middle of it.
func TestNothingIsCommittedAfterTheLease(t *testing.T) {
	for name, write := range map[string]func(*testing.T, *place) (finish func() error){
		"exec": func(t *testing.T, p *place) func() error {
			return func() error { _, err := p.db.ExecContext(t.Context(), "INSERT INTO e VALUES (2)"); return err }
		},
		"prepared": func(t *testing.T, p *place) func() error {
			s, err := p.db.PrepareContext(t.Context(), "INSERT INTO e VALUES (?)")
			if err != nil {
				t.Fatal(err)
			}
			return func() error {
				defer func() { _ = s.Close() }()
				_, err := s.ExecContext(t.Context(), 2)
				return err
			}
		},
		"transaction": func(t *testing.T, p *place) func() error {
			x, err := p.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.ExecContext(t.Context(), "INSERT INTO e VALUES (2)"); err != nil {
				t.Fatal(err)
			}
			return x.Commit
		},
		"returning": func(t *testing.T, p *place) func() error {
			return func() error {
				var v int
				return p.db.QueryRowContext(t.Context(), "INSERT INTO e VALUES (2) RETURNING v").Scan(&v)
			}
		},
		"several statements": func(t *testing.T, p *place) func() error {
			return func() error {
				_, err := p.db.ExecContext(t.Context(), "BEGIN; INSERT INTO e VALUES (2); COMMIT")
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := at(t, t.TempDir(), embedded.App{})
			p.leads(1)
			p.exec("CREATE TABLE e (v INTEGER)")
			p.exec("INSERT INTO e VALUES (1)")
			finish := write(t, p)
			p.boot.Store(int64(time.Hour))
			fenced(t, name, finish())
			p.boot.Store(0) // which no clock does: to look at what is there
			if n := p.count(); n != 1 {
				t.Errorf("%d rows are there, want 1", n)
			}
			if err := finishOf(t, p, write); err != nil {
				t.Errorf("with the lease: %v", err)
			}
			if n := p.count(); n != 2 {
				t.Errorf("%d rows are there, want 2", n)
			}
		})
	}
}

func finishOf(t *testing.T, p *place, write func(*testing.T, *place) func() error) error {
	return write(t, p)()
}

// A commit that is on disk is not acknowledged when the lease ended meanwhile.
func TestACommitIsAcknowledgedWithinTheLease(t *testing.T) {
	p := at(t, t.TempDir(), embedded.App{})
	p.leads(1)
	p.exec("CREATE TABLE e (v INTEGER)")
	c, err := p.d.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw := c.(*conn).raw
	raw.RegisterCommitHook(func() int32 { // asked as ever, and right after it the lease ends
		if c.(*conn).t.fenced() != nil {
			return 1
		}
		p.boot.Store(int64(time.Hour))
		return 0
	})
	_, err = c.(*conn).ExecContext(t.Context(), "INSERT INTO e VALUES (1)", nil)
	fenced(t, "a commit that took too long", err)
	p.boot.Store(0)
	if n := p.count(); n != 1 {
		t.Errorf("%d rows are there: this test is about one that was stored", n)
	}
}

// A step-down ends what is under way, closes every file, and the same *sql.DB works under the next epoch here.
func TestStepDownClosesTheDatabase(t *testing.T) {
	dir := t.TempDir()
	p := at(t, dir, embedded.App{})
	_, err := p.db.ExecContext(t.Context(), "SELECT 1")
	fenced(t, "before it was ever active", err)
	p.leads(1)
	p.exec("CREATE TABLE e (v INTEGER)")
	p.exec("WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v+1 FROM n LIMIT 1000) INSERT INTO e SELECT v FROM n")

	x, err := p.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.ExecContext(t.Context(), "DELETE FROM e"); err != nil {
		t.Fatal(err)
	}
	rows, err := p.db.QueryContext(t.Context(), "SELECT v FROM e")
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	prepared, err := p.db.PrepareContext(t.Context(), "SELECT count(*) FROM e")
	if err != nil {
		t.Fatal(err)
	}
	endless := make(chan error, 1)
	go func() {
		_, err := p.db.ExecContext(t.Context(), "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v+1 FROM n) SELECT count(*) FROM n")
		endless <- err
	}()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for p.db.Stats().InUse < 3 {
		<-look.C
	}
	p.stepsDown()
	fenced(t, "a query that never ends", <-endless)
	fenced(t, "commit", x.Commit())
	for rows.Next() {
	}
	fenced(t, "rows", rows.Err())
	_ = rows.Close()
	_, err = p.db.ExecContext(t.Context(), "INSERT INTO e VALUES (0)")
	fenced(t, "a new statement", err)
	if open := opened(t, dir); len(open) > 0 {
		t.Errorf("still open: %q", open)
	}

	p.leads(2)
	if n := p.count(); n != 1000 {
		t.Errorf("%d rows, want 1000: what was not committed is rolled back", n)
	}
	var n int
	if err := prepared.QueryRowContext(t.Context()).Scan(&n); err != nil || n != 1000 {
		t.Errorf("a statement of the epoch before: %d, %v", n, err)
	}
	if err := prepared.Close(); err != nil {
		t.Error(err)
	}
}

// opened returns what this process has open below a directory.
func opened(t *testing.T, dir string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, fd := range all {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir) {
			found = append(found, to)
		}
	}
	return found
}

// What OnStandby of a step-down and OnStop write is stored; a kill and an OnActive that fails leave nothing open.
func TestFunctionsOfTheAppHaveTheDatabase(t *testing.T) {
	dir := t.TempDir()
	var p *place
	insert := func(v int) embedded.Func {
		return func(ctx context.Context) error {
			_, err := p.db.ExecContext(context.WithoutCancel(ctx), "INSERT INTO e VALUES (?)", v)
			return err
		}
	}
	var broken atomic.Bool
	errBroken := errors.New("it does not begin")
	p = at(t, dir, embedded.App{
		OnActive: func(ctx context.Context) error {
			if broken.Load() {
				return errBroken
			}
			_, err := p.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS e (v INTEGER)")
			return err
		},
		OnStandby: insert(1), OnStop: insert(2),
	})
	p.leads(1)
	p.stepsDown()
	p.leads(2)
	if _, err := p.driver.Stop(t.Context(), "ledger-0"); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if err := p.begins(3); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if err := p.driver.Kill("ledger-0"); err != nil {
		t.Fatal(err)
	}
	if open := opened(t, dir); len(open) > 0 {
		t.Errorf("open after it failed: %q", open)
	}
	broken.Store(false)
	p.leads(4)
	if n := p.count(); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	if err := p.driver.Kill("ledger-0"); err != nil {
		t.Fatal(err)
	}
	if open := opened(t, dir); len(open) > 0 {
		t.Errorf("open after a kill: %q", open)
	}
}

// A file that is no database, and a pragma that is none, are said to be.
func TestWhatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	p := at(t, dir, embedded.App{})
	path := filepath.Join(p.driver.DataDir("ledger-0"), "ledger.db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.begins(1); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("%v", err)
	}
	q := at(t, t.TempDir(), embedded.App{}, "foreign_keys(")
	if err := q.begins(1); err == nil || !strings.Contains(err.Error(), "ledger.db") {
		t.Errorf("%v", err)
	}
}

// What is wrong with the arguments comes out before the program is a node.
func TestFaults(t *testing.T) {
	state := struct{ cluster.LogState }{}
	for want, f := range map[string]func() *cluster.Application{
		"only an app of mode singleton": func() *cluster.Application {
			a := cluster.App("x", cluster.Replicas(2))
			Open(a, "x.db")
			return a
		},
		"it has sqlite.Open": func() *cluster.Application {
			a := cluster.App("x", cluster.Singleton())
			Open(a, "x.db")
			Open(a, "y.db")
			return a
		},
		"want a file in the data directory": func() *cluster.Application {
			a := cluster.App("x", cluster.Singleton())
			Open(a, "../x.db")
			return a
		},
		"it has a Log": func() *cluster.Application {
			a := cluster.App("x", cluster.Singleton())
			a.Log(state)
			Open(a, "x.db")
			return a
		},
		"Log: it has sqlite.Open": func() *cluster.Application {
			a := cluster.App("x", cluster.Singleton())
			Open(a, "x.db")
			a.Log(state)
			return a
		},
	} {
		p := cluster.NewPlatform("prod", "node-1", "nats://127.0.0.1:4222")
		if err := p.Register(f()); !errors.Is(err, cluster.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
