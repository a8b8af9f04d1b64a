//go:build linux

// Package ledger is a sample singleton with a database: a program that must never forget what it acknowledged. It knows nothing of
// go-cluster; it keeps a SQLite database in WAL mode, below a directory that it is told.
package ledger

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	json "github.com/go-json-experiment/json"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Spec is the app as `go-cluster app apply -f` takes it.
//
//go:embed app.yaml
var Spec []byte

// Entry is one line of the ledger. A writer numbers its own; the ledger takes each number of a writer once, so that a writer that
// got no answer may ask again.
type Entry struct {
	ID     int64  `json:"id"`
	Writer string `json:"writer"`
	N      int64  `json:"n"`
	Node   string `json:"node"`
	Epoch  uint64 `json:"epoch"`
}

const schema = `CREATE TABLE IF NOT EXISTS entries (
	id INTEGER PRIMARY KEY AUTOINCREMENT, writer TEXT NOT NULL, n INTEGER NOT NULL, node TEXT NOT NULL, epoch INTEGER NOT NULL,
	UNIQUE (writer, n))`

type ledger struct {
	db      *sql.DB
	node    string
	epoch   uint64
	journal *journal // nil without JOURNAL
}

// Run answers HTTP until ctx ends. It returns an error when the database cannot be opened or it cannot listen.
func Run(ctx context.Context, getenv func(string) string) (err error) {
	l := &ledger{node: getenv("GC_NODE")}
	if s := getenv("GC_EPOCH"); s != "" {
		if l.epoch, err = strconv.ParseUint(s, 10, 64); err != nil {
			return fmt.Errorf("ledger: GC_EPOCH: %w", err)
		}
	}
	if l.journal, err = openJournal(getenv("JOURNAL")); err != nil {
		return fmt.Errorf("ledger: JOURNAL: %w", err)
	}
	path := filepath.Join(getenv("GC_DATA_DIR"), "ledger.db")
	if l.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	l.db.SetMaxOpenConns(1) // SQLite has one writer, and reads here are short
	defer func() { err = errors.Join(err, l.db.Close(), l.journal.close()) }()
	if _, err := l.db.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("ledger: %s: %w", path, err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(getenv("GC_ADDRESS"), getenv("GC_PORT_HTTP")))
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	fmt.Printf("ledger: on http://%s, epoch %d, in %s\n", listener.Addr(), l.epoch, path)
	server := &http.Server{Handler: l.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("ledger: %w", err)
	case <-ctx.Done():
	}
	// Whoever has asked gets an answer; who asks from now on asks another.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return server.Shutdown(last)
}

func (l *ledger) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /entries", l.answer(l.post))
	mux.HandleFunc("GET /entries", l.answer(l.list))
	mux.HandleFunc("GET /check", l.answer(l.check))
	return mux
}

func (l *ledger) answer(f func(r *http.Request) (any, error)) http.HandlerFunc {
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

// post stores entry n of a writer, or finds that it is stored. The answer comes after the commit.
func (l *ledger) post(r *http.Request) (any, error) {
	e := Entry{Writer: r.FormValue("writer"), Node: l.node, Epoch: l.epoch}
	var err error
	if e.N, err = strconv.ParseInt(r.FormValue("n"), 10, 64); err != nil || e.Writer == "" {
		return nil, errors.New("want writer and n")
	}
	res, err := l.db.ExecContext(r.Context(), `INSERT INTO entries (writer, n, node, epoch) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, e.Writer, e.N, e.Node, e.Epoch)
	if err != nil {
		return nil, err
	}
	row := l.db.QueryRowContext(r.Context(), `SELECT id, node, epoch FROM entries WHERE writer = ? AND n = ?`, e.Writer, e.N)
	if err := row.Scan(&e.ID, &e.Node, &e.Epoch); err != nil {
		return nil, err
	}
	if made, err := res.RowsAffected(); err != nil || made == 0 {
		return e, err
	}
	return e, l.journal.append(Line{Node: l.node, Epoch: l.epoch, PID: os.Getpid(), N: uint64(e.ID)})
}

func (l *ledger) list(r *http.Request) (any, error) {
	rows, err := l.db.QueryContext(r.Context(), `SELECT id, writer, n, node, epoch FROM entries ORDER BY id`)
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

// check is what SQLite says of the whole database.
func (l *ledger) check(r *http.Request) (any, error) {
	var verdict string
	err := l.db.QueryRowContext(r.Context(), "PRAGMA integrity_check").Scan(&verdict)
	return verdict, err
}
