// Package worker is a sample of a pool inside a Go program: two equal members somewhere among the programs that run this, never two
// in one. What a member has begun it finishes before it stops.
//
//	go run ./examples/worker -node node-1 -nats nats://127.0.0.1:4222 -cluster dev
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	name := flags.String("cluster", "dev", "cluster to join")
	node := flags.String("node", "", "name of this node")
	servers := flags.String("nats", "", "NATS URL (default: $NATS_URL, else nats://127.0.0.1:4222)")
	dir := flags.String("data-dir", "", "directory of this node (default: below the user's state directory)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options := []cluster.Option{cluster.Logger(slog.Default())}
	if *dir != "" {
		options = append(options, cluster.DataDir(*dir))
	}
	platform := cluster.NewPlatform(*name, *node, cmp.Or(*servers, os.Getenv("NATS_URL"), "nats://127.0.0.1:4222"), options...)
	if err := platform.Register(newWorker(200 * time.Millisecond).app()); err != nil {
		return err
	}
	return platform.Run(ctx)
}

// worker does one job after the other, each of which takes a while.
type worker struct {
	job  time.Duration
	busy sync.WaitGroup
}

func newWorker(job time.Duration) *worker { return &worker{job: job} }

func (w *worker) app() *cluster.Application {
	app := cluster.App("worker", cluster.Pool(2), cluster.PreferLabel("role", "compute"))
	app.OnStart(func(ctx context.Context) error {
		here, _ := cluster.Where(ctx)
		w.busy.Go(func() { w.work(ctx, here.Instance) })
		return nil
	})
	app.OnStop(func(ctx context.Context) error {
		finished := make(chan struct{})
		go func() { w.busy.Wait(); close(finished) }()
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("a job is cut short: %w", ctx.Err())
		}
	})
	return app
}

func (w *worker) work(ctx context.Context, instance string) {
	for n := 1; ctx.Err() == nil; n++ {
		<-time.After(w.job) // the job itself is not interrupted
		slog.Info("job done", "instance", instance, "job", n)
	}
}
