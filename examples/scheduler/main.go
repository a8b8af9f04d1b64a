// Package scheduler is a sample of a singleton inside a Go program: of all the programs that run this, one at a time runs the nightly
// job, on a node with the label role=controller. It moves when labels change, but not in the middle of a job.
//
//	go run ./examples/scheduler -node node-1 -role controller -nats nats://127.0.0.1:4222 -cluster dev
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("scheduler", flag.ContinueOnError)
	name := flags.String("cluster", "dev", "cluster to join")
	node := flags.String("node", "", "name of this node")
	role := flags.String("role", "", "label role of this node")
	servers := flags.String("nats", "", "NATS URL (default: $NATS_URL, else nats://127.0.0.1:4222)")
	dir := flags.String("data-dir", "", "directory of this node (default: below the user's state directory)")
	book := flags.String("book", "", "file that the jobs are written down in, shared by all nodes (default: in the temporary directory)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options := []cluster.Option{cluster.Logger(slog.Default())}
	if *dir != "" {
		options = append(options, cluster.DataDir(*dir))
	}
	if *role != "" {
		options = append(options, cluster.Labels(map[string]string{"role": *role}))
	}
	if *book == "" {
		*book = filepath.Join(os.TempDir(), "scheduler.book")
	}
	platform := cluster.NewPlatform(*name, *node, cmp.Or(*servers, os.Getenv("NATS_URL"), "nats://127.0.0.1:4222"), options...)
	s := newScheduler(*book, time.Second, 200*time.Millisecond)
	if err := platform.Register(s.app); err != nil {
		return err
	}
	return platform.Run(ctx)
}

// scheduler runs a job every so often while it is the active one.
type scheduler struct {
	app    *cluster.Application
	book   string
	every  time.Duration
	job    time.Duration // how long one takes
	inJob  atomic.Bool
	alarms atomic.Int64
}

func newScheduler(book string, every, job time.Duration) *scheduler {
	s := &scheduler{book: book, every: every, job: job}
	s.app = cluster.App("scheduler", cluster.Singleton(), cluster.OnLabel("role", "controller"))
	s.app.OnActive(func(ctx context.Context) error {
		go s.loop(ctx)
		return nil
	})
	s.app.OnMigrationStart(func(_ context.Context, from, to string) error {
		if s.inJob.Load() {
			return cluster.RetryAfter(errors.New("a job is under way"), 2*s.job)
		}
		slog.Info("about to move", "from", from, "to", to)
		return nil
	})
	s.app.OnMigrationComplete(func(_ context.Context, from, to string) error {
		slog.Info("moved", "from", from, "to", to)
		return nil
	})
	s.app.OnPlacementInvalid(func(_ context.Context, reason string) error {
		s.alarms.Add(1)
		slog.Error("nobody runs the jobs", "reason", reason)
		return nil
	})
	return s
}

// loop ends when the scheduler steps down: its context ends then, and the gate closes after it.
func (s *scheduler) loop(ctx context.Context) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch err := s.once(ctx); {
		case errors.Is(err, cluster.ErrFenced):
			return // another one runs the jobs now
		case err != nil:
			slog.Error("job failed", "error", err)
		}
	}
}

// once runs one job and writes it down. The write goes through the gate: whoever has lost the right to it is refused.
func (s *scheduler) once(ctx context.Context) error {
	s.inJob.Store(true)
	defer s.inJob.Store(false)
	if err := s.app.Fence(ctx); err != nil { // not begun in vain
		return err
	}
	<-time.After(s.job)
	return s.app.Write(ctx, func(ctx context.Context) error {
		here, _ := cluster.Where(ctx)
		f, err := os.OpenFile(s.book, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, "epoch %d on %s: job done\n", here.Epoch, here.Node)
		return errors.Join(err, f.Close())
	})
}
