//go:build linux

package ledger

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"os"
	"strconv"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/examples/journal"
)

// Entry is one line of the ledger. A writer numbers its own; the ledger takes each number of a writer once, so that a writer that
// got no answer may ask again.
type Entry struct {
	ID     int64  `json:"id"`
	Writer string `json:"writer"`
	N      int64  `json:"n"`
	Node   string `json:"node"`
	Epoch  uint64 `json:"epoch"`
}

// Books are where the entries are kept.
type Books interface {
	// Post returns entry n of the writer: it is stored then, now or since an earlier call.
	Post(ctx context.Context, writer string, n int64) (Entry, error)
	// List returns all entries in their order.
	List(ctx context.Context) ([]Entry, error)
	// Check returns "ok", or what is wrong with the books as a whole.
	Check(ctx context.Context) (string, error)
}

// Handler is the ledger on HTTP.
func Handler(b Books) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /entries", answer(func(r *http.Request) (any, error) {
		n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
		if writer := r.FormValue("writer"); err == nil && writer != "" {
			return b.Post(r.Context(), writer, n)
		}
		return nil, errors.New("want writer and n")
	}))
	mux.HandleFunc("GET /entries", answer(func(r *http.Request) (any, error) { return b.List(r.Context()) }))
	mux.HandleFunc("GET /check", answer(func(r *http.Request) (any, error) { return b.Check(r.Context()) }))
	return mux
}

func answer(f func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		var b []byte
		if err == nil {
			b, err = json.Marshal(v)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(b, '\n')) // fails when the client has gone
	}
}

// Database is Books in SQLite, kept by one run of a program: Node and Epoch are what it adds to the entries that it makes, and it has a line
// for each of those in the journal, which may be nil.
type Database struct {
	DB      *sql.DB
	Node    string
	Epoch   uint64
	Journal *journal.Journal
}

const schema = `CREATE TABLE IF NOT EXISTS entries (
	id INTEGER PRIMARY KEY AUTOINCREMENT, writer TEXT NOT NULL, n INTEGER NOT NULL, node TEXT NOT NULL, epoch INTEGER NOT NULL,
	UNIQUE (writer, n))`

// Open makes the table if it is missing.
func (d *Database) Open(ctx context.Context) error {
	_, err := d.DB.ExecContext(ctx, schema)
	return err
}

// Post implements Books. It returns after the commit.
func (d *Database) Post(ctx context.Context, writer string, n int64) (Entry, error) {
	e := Entry{Writer: writer, N: n}
	res, err := d.DB.ExecContext(ctx, `INSERT INTO entries (writer, n, node, epoch) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		writer, n, d.Node, d.Epoch)
	if err != nil {
		return e, err
	}
	row := d.DB.QueryRowContext(ctx, `SELECT id, node, epoch FROM entries WHERE writer = ? AND n = ?`, writer, n)
	if err := row.Scan(&e.ID, &e.Node, &e.Epoch); err != nil {
		return e, err
	}
	if made, err := res.RowsAffected(); err != nil || made == 0 {
		return e, err
	}
	return e, d.Journal.Append(journal.Line{Node: d.Node, Epoch: d.Epoch, PID: os.Getpid(), N: uint64(e.ID)})
}

// List implements Books.
func (d *Database) List(ctx context.Context) ([]Entry, error) {
	rows, err := d.DB.QueryContext(ctx, `SELECT id, writer, n, node, epoch FROM entries ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	all := []Entry{}
	for rows.Next() {
		var e Entry
		if err := rows.Scan(&e.ID, &e.Writer, &e.N, &e.Node, &e.Epoch); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// Check implements Books: it is what SQLite says of the whole database.
func (d *Database) Check(ctx context.Context) (verdict string, err error) {
	err = d.DB.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict)
	return verdict, err
}
