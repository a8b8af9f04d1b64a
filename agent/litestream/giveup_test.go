//go:build linux

package litestream

import (
	"database/sql"
	"testing"
	"time"
)

// What is left to be done with the data of an epoch that has ended is given up when they are to be those of the next one here, as after a restart or a
// move that goes back: all of them would have to be read first.
func TestWhatIsLeftIsGivenUp(t *testing.T) {
	l := newLab(t)
	l.options = func(o *Options) { o.Peace, o.Interval = time.Hour, time.Hour }
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 1)
	a.Close(t)
	slow, err := sql.Open("sqlite", "file:"+d.Path) // its log cannot be put away, which is waited for
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	tx, err := slow.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var n int
	if err := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM numbers").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, _, err := lead.Flush(limit(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lead.tidied:
		t.Fatal("nothing is left to be done")
	default:
	}
	if err := r.Promote(limit(t), d, 2); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lead.tidied:
	default:
		t.Error("it goes on")
	}
	if m, err := readMark(d); err != nil || m.Epoch != 2 || !m.Led || m.Ended {
		t.Errorf("%+v, %v", m, err)
	}
	if s := lead.Status(); s.Err != "" {
		t.Errorf("it is said to be amiss: %s", s.Err)
	}
}
