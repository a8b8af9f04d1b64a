//go:build linux

// Package ledger is a sample singleton with a database: a program that must never forget what it acknowledged. Run is that as a plain
// program, which knows nothing of go-cluster: it keeps a SQLite database in WAL mode, below a directory that it is told. Package
// ledger-go is the same as a part of a Go program.
package ledger

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/go-cluster/go-cluster/examples/journal"
)

// Spec is the app as `go-cluster app apply -f` takes it.
//
//go:embed app.yaml
var Spec []byte

// Run answers HTTP until ctx ends. It returns an error when the database cannot be opened or it cannot listen.
func Run(ctx context.Context, getenv func(string) string) (err error) {
	d := &Database{Node: getenv("GC_NODE")}
	if s := getenv("GC_EPOCH"); s != "" {
		if d.Epoch, err = strconv.ParseUint(s, 10, 64); err != nil {
			return fmt.Errorf("ledger: GC_EPOCH: %w", err)
		}
	}
	if d.Journal, _, err = journal.Open(getenv("JOURNAL")); err != nil {
		return fmt.Errorf("ledger: JOURNAL: %w", err)
	}
	path := filepath.Join(getenv("GC_DATA_DIR"), "ledger.db")
	if d.DB, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	d.DB.SetMaxOpenConns(1) // SQLite has one writer, and reads here are short
	defer func() { err = errors.Join(err, d.DB.Close(), d.Journal.Close()) }()
	if err := d.Open(ctx); err != nil {
		return fmt.Errorf("ledger: %s: %w", path, err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(getenv("GC_ADDRESS"), getenv("GC_PORT_HTTP")))
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	fmt.Printf("ledger: on http://%s, epoch %d, in %s\n", listener.Addr(), d.Epoch, path)
	mux := http.NewServeMux()
	mux.Handle("/", Handler(d))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
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
