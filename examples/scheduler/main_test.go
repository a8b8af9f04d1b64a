package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/sim"
)

// Two programs, one scheduler: it follows the label, and what it has written down is in the order of its epochs.
func TestSchedulerFollowsItsLabel(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster in real time")
	}
	plane, err := sim.StartPlane("prod", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Stop()
	ctx, stop := context.WithCancel(t.Context())
	book := filepath.Join(t.TempDir(), "book")
	ended := make(chan error, 2)
	for node, role := range map[string]string{"node-1": "controller", "node-2": "storage"} {
		p := cluster.NewPlatform("prod", node, plane.URL, cluster.DataDir(t.TempDir()), cluster.Labels(map[string]string{"role": role}))
		if err := p.Register(newScheduler(book, 20*time.Millisecond, time.Millisecond).app); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- p.Run(ctx) }()
	}
	client := cluster.NewPlatform("prod", "", plane.URL)
	defer client.Close()
	wrote := func(line string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
			if b, err := os.ReadFile(book); err == nil && strings.Contains(string(b), line) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("nobody wrote %q", line)
			}
		}
	}
	wrote("epoch 1 on node-1: job done")
	if err := errors.Join(client.UpdateNodeLabels("node-2", map[string]string{"role": "controller"}), client.UpdateNodeLabels("node-1", map[string]string{"role": "storage"})); err != nil {
		t.Fatal(err)
	}
	wrote("epoch 2 on node-2: job done")
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(book)
	if err != nil {
		t.Fatal(err)
	}
	epoch, last := 0, 0
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "epoch %d ", &epoch); err != nil || epoch < last {
			t.Errorf("%q after epoch %d", line, last)
		}
		last = epoch
	}
}

func TestBadFlags(t *testing.T) {
	if err := run(t.Context(), []string{"-node", "Not A Name"}); !errors.Is(err, cluster.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
