//go:build linux

// Package ledger-go is the ledger as a part of a Go program: of all the programs that run this, one at a time keeps the books, in a SQLite
// database or in a log of its own, and they move with it. The others answer 503.
//
//	go run ./examples/ledger-go -node go-1 -nats nats://127.0.0.1:4222 -cluster dev -http 127.0.0.1:8081
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/examples/journal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ledger-go:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("ledger-go", flag.ContinueOnError)
	name := flags.String("cluster", "dev", "cluster to join")
	node := flags.String("node", "", "name of this node")
	servers := flags.String("nats", "", "NATS URL (default: $NATS_URL, else nats://127.0.0.1:4222)")
	dir := flags.String("data-dir", "", "directory of this node (default: below the user's state directory)")
	address := flags.String("http", "127.0.0.1:8081", "where this program answers; port 0 takes a free one")
	keep := flags.String("keep", inSQLite, "what the books are kept in: "+inSQLite+" or "+inLog)
	written := flags.String("journal", "", "file with a line for each entry, shared by all nodes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options := []cluster.Option{cluster.Logger(slog.New(slog.NewJSONHandler(os.Stderr, nil)))}
	if *dir != "" {
		options = append(options, cluster.DataDir(*dir))
	}
	j, _, err := journal.Open(*written)
	if err != nil {
		return fmt.Errorf("-journal: %w", err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	b, err := newBooks(*keep, j)
	if err != nil {
		return err
	}
	platform := cluster.NewPlatform(*name, *node, cmp.Or(*servers, os.Getenv("NATS_URL"), "nats://127.0.0.1:4222"), options...)
	if err := platform.Register(b.app); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	fmt.Printf("ledger-go: on http://%s\n", listener.Addr())
	server := &http.Server{Handler: b, ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(listener)
		stop()
	}()
	err = platform.Run(ctx) // whoever asks gets an answer until the books are elsewhere
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(last))
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
