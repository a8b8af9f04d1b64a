package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/sim"
)

// Two members on three programs; a drained one is replaced before it stops.
func TestWorkers(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster in real time")
	}
	plane, err := sim.StartPlane("prod", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Stop()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	for _, node := range []string{"node-1", "node-2", "node-3"} {
		p := cluster.NewPlatform("prod", node, plane.URL, cluster.DataDir(t.TempDir()))
		if err := p.Register(newWorker(time.Millisecond).app()); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- p.Run(ctx) }()
	}
	client := cluster.NewPlatform("prod", "", plane.URL)
	defer client.Close()
	two := func() []string {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
			if app, err := client.App(ctx, "worker"); err == nil && app.State == "running" && app.Running == 2 {
				return app.Nodes
			}
			if time.Now().After(end) {
				t.Fatal("two workers never ran")
			}
		}
	}
	drained := two()[0]
	for { // until the third program is there too
		err := client.DrainNode(ctx, drained, cluster.DrainOptions{})
		if err == nil {
			break
		}
		if !errors.Is(err, cluster.ErrPending) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
	if now := two(); slices.Contains(now, drained) {
		t.Errorf("workers on %v, %s was drained", now, drained)
	}
	stop()
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
