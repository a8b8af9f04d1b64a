//go:build linux

package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
)

// conn is a connection that a term can take away at any moment: each call into SQLite is made under its mutex, and finds out whether that
// has happened. What was opened on it is closed with it, for SQLite keeps a file open until its last statement is gone.
type conn struct {
	t *term

	committed atomic.Bool // something was that nobody has been told of yet

	mu   sync.Mutex
	raw  rawConn
	open map[closer]bool
	dead bool
}

// closer is rows or a statement.
type closer interface {
	shut() error
	last() bool // statements go after their rows
}

// kill closes the connection and what was opened on it. What was not committed is rolled back.
func (c *conn) kill() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil
	}
	c.dead = true
	for _, last := range []bool{false, true} {
		for o := range c.open {
			if o.last() == last {
				_ = o.shut()
			}
		}
	}
	c.open = nil
	return c.raw.Close()
}

// call calls SQLite, unless the connection is gone. ctx ends with the term as well, until done is called.
func (c *conn) call(ctx context.Context, f func(ctx context.Context) error) (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, c.t.gone()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.t.running, func() { cancel(c.t.gone()) })
	done = func() { stop(); cancel(nil) }
	if err := f(ctx); err != nil {
		done()
		if why := c.t.fenced(); why != nil {
			return nil, why
		}
		return nil, err
	}
	return done, nil
}

// once is call for what is done when it returns; wrote is nil once that may be acknowledged.
func (c *conn) once(ctx context.Context, f func(ctx context.Context) error) error {
	done, err := c.call(ctx, f)
	if err == nil {
		done()
	}
	return err
}

func (c *conn) wrote(ctx context.Context, f func(ctx context.Context) error) error {
	if err := c.once(ctx, f); err != nil {
		c.committed.Store(false)
		return err
	}
	// On one processor whoever waits for the write lock runs while a commit waits for the disk, and would find the lock taken each time.
	runtime.Gosched()
	return c.acknowledge(ctx)
}

// acknowledge returns nil once what the connection has committed may be acknowledged, if that is anything.
func (c *conn) acknowledge(ctx context.Context) error {
	if !c.committed.Swap(false) {
		return c.t.fenced()
	}
	return c.t.acknowledge(ctx)
}

func (c *conn) add(o closer) { c.open[o] = true } // within call

// drop closes what was opened on the connection, if it has not been closed with it.
func (c *conn) drop(o closer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil
	}
	delete(c.open, o)
	return o.shut()
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.wrote(ctx, func(ctx context.Context) (err error) { r, err = c.raw.ExecContext(ctx, query, args); return err })
	return r, err
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.rows(ctx, func(ctx context.Context) (driver.Rows, error) { return c.raw.QueryContext(ctx, query, args) })
}

func (c *conn) rows(ctx context.Context, f func(ctx context.Context) (driver.Rows, error)) (driver.Rows, error) {
	r := &rows{c: c, ctx: ctx}
	done, err := c.call(ctx, func(ctx context.Context) error {
		got, err := f(ctx)
		if err != nil {
			return err
		}
		r.rawRows = got.(rawRows) // as much as the driver of rawConn has
		c.add(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.done = done
	return r, nil
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s := &stmt{c: c}
	err := c.once(ctx, func(ctx context.Context) error {
		got, err := c.raw.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		s.raw = got.(rawStmt)
		c.add(s)
		return nil
	})
	return s, err
}

// Prepare implements driver.Conn.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	x := &tx{c: c, ctx: ctx}
	done, err := c.call(ctx, func(ctx context.Context) (err error) { x.raw, err = c.raw.BeginTx(ctx, o); return err })
	x.done = done
	return x, err
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// Ping implements driver.Pinger.
func (c *conn) Ping(ctx context.Context) error { return c.once(ctx, c.raw.Ping) }

// ResetSession implements driver.SessionResetter.
func (c *conn) ResetSession(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return driver.ErrBadConn
	}
	return c.raw.ResetSession(ctx)
}

// IsValid implements driver.Validator.
func (c *conn) IsValid() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.dead && c.raw.IsValid()
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c)
	c.t.mu.Unlock()
	return c.kill()
}

// tx is a transaction.
type tx struct {
	c    *conn
	ctx  context.Context // of whoever began it
	raw  driver.Tx
	done func()
}

// Commit implements driver.Tx.
func (x *tx) Commit() error {
	defer x.done()
	return x.c.wrote(x.ctx, func(context.Context) error { return x.raw.Commit() })
}

// Rollback implements driver.Tx.
func (x *tx) Rollback() error {
	defer x.done()
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if x.c.dead {
		return nil // it was
	}
	return x.raw.Rollback()
}

// stmt is a prepared statement.
type stmt struct {
	c   *conn
	raw rawStmt
}

type rawStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func (s *stmt) shut() error { return s.raw.Close() }
func (s *stmt) last() bool  { return true }

// Close implements driver.Stmt.
func (s *stmt) Close() error { return s.c.drop(s) }

// NumInput implements driver.Stmt.
func (s *stmt) NumInput() int { return -1 } // the driver counts them itself

// ExecContext implements driver.StmtExecContext.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	err = s.c.wrote(ctx, func(ctx context.Context) (err error) { r, err = s.raw.ExecContext(ctx, args); return err })
	return r, err
}

// QueryContext implements driver.StmtQueryContext.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.rows(ctx, func(ctx context.Context) (driver.Rows, error) { return s.raw.QueryContext(ctx, args) })
}

// Exec implements driver.Stmt.
func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }

// Query implements driver.Stmt.
func (s *stmt) Query([]driver.Value) (driver.Rows, error) { return nil, driver.ErrSkip }

// rows are the rows of a query.
type rows struct {
	rawRows
	c    *conn
	ctx  context.Context // of whoever asked
	done func()
}

type rawRows interface {
	driver.Rows
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

func (r *rows) shut() error { return r.rawRows.Close() }
func (r *rows) last() bool  { return false }

// Close implements driver.Rows. A statement that writes and returns rows is committed by it.
func (r *rows) Close() error {
	defer r.done()
	err := r.c.drop(r)
	return cmp.Or(r.c.acknowledge(r.ctx), err)
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	err := r.look(func() error { return r.rawRows.Next(dest) })
	if err != nil { // the end of the rows is an error, too, and may be a commit
		return cmp.Or(r.c.acknowledge(r.ctx), err)
	}
	return nil
}

func (r *rows) look(f func() error) error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.c.dead {
		return r.c.t.gone()
	}
	return f()
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName.
func (r *rows) ColumnTypeDatabaseTypeName(i int) (name string) {
	_ = r.look(func() error { name = r.rawRows.ColumnTypeDatabaseTypeName(i); return nil })
	return name
}

// ColumnTypeLength implements driver.RowsColumnTypeLength.
func (r *rows) ColumnTypeLength(i int) (length int64, ok bool) {
	_ = r.look(func() error { length, ok = r.rawRows.ColumnTypeLength(i); return nil })
	return length, ok
}

// ColumnTypeScanType implements driver.RowsColumnTypeScanType.
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	t := reflect.TypeFor[any]()
	_ = r.look(func() error { t = r.rawRows.ColumnTypeScanType(i); return nil })
	return t
}
