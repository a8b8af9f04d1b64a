package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"
)

// The read client, and the calls that move more than one instance.
func TestReadClient(t *testing.T) {
	inBubble(t, func(w *world) {
		client := w.two(func(string) *Application { return App("web", Replicas(1), PreferNode("node-1", 100)) })
		w.on("web", "node-1")
		nodes, err := client.Nodes(w.ctx)
		if err != nil || len(nodes) != 2 || nodes[0].ID != "node-1" || !slices.Equal(nodes[0].Apps, []string{"web"}) {
			t.Errorf("nodes: %+v %v", nodes, err)
		}
		if _, err := client.Node(w.ctx, "node-9"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a node that does not exist: %v", err)
		}
		if err := client.UpdateNodeLabels("node-1", map[string]string{"zone": "us-east-1a"}); err != nil {
			t.Fatal(err)
		}
		if err := client.EvacuateLabel(w.ctx, "zone=us-east-1a"); err != nil {
			t.Fatal(err)
		}
		w.on("web", "node-2")
		if err := client.EvacuateLabel(w.ctx, "zone in ("); !errors.Is(err, ErrInvalid) {
			t.Errorf("a selector that does not parse: %v", err)
		}
		moves, err := client.Migrations(w.ctx, "web")
		if err != nil || len(moves) != 2 || moves[1].Reason != "evacuate" {
			t.Fatalf("migrations: %+v %v", moves, err)
		}
		detail, err := client.Migration(w.ctx, moves[1].ID)
		if err != nil || detail.ToNode != "node-2" || len(detail.Steps) < 3 {
			t.Errorf("migration: %+v %v", detail, err)
		}
		if err := client.CordonNode(w.ctx, "node-1"); err != nil {
			t.Fatal(err)
		}
		if err := client.MoveApp(w.ctx, MoveRequest{App: "web"}); !errors.Is(err, ErrRefused) {
			t.Errorf("a move with nowhere to go: %v", err)
		} else if e := new(Error); !errors.As(err, &e) || len(e.Rejections) == 0 || e.Rejections[0].Code != "cordoned" {
			t.Errorf("its reasons: %+v", e)
		}
		if err := client.DrainNode(w.ctx, "node-2", DrainOptions{}); !errors.Is(err, ErrPending) {
			t.Errorf("a drain with nowhere to go: %v", err)
		}
		if err := client.UncordonNode(w.ctx, "node-1"); err != nil {
			t.Fatal(err)
		}
		w.on("web", "node-1") // the drain goes on
		apps, err := client.Apps(w.ctx)
		if err != nil || len(apps) != 1 || apps[0].Running != 1 {
			t.Errorf("apps: %+v %v", apps, err)
		}
		if err := client.RebalanceApp(w.ctx, "web"); err != nil {
			t.Errorf("rebalance: %v", err)
		}
		var types []string
		enough := errors.New("enough")
		err = client.Events(w.ctx, EventFilter{App: "web"}, func(e Event) error {
			types = append(types, e.Type)
			if e.Seq == 0 || e.App != "web" || e.Time.IsZero() || len(e.Data) == 0 {
				t.Errorf("event: %+v", e)
			}
			if e.Type == "placement.migration.completed" {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || !slices.Contains(types, "app.spec.applied") || !slices.Contains(types, "placement.migration.started") {
			t.Errorf("events: %v %v", types, err)
		}
		ctx, stop := context.WithCancel(w.ctx)
		stop()
		if err := client.Events(ctx, EventFilter{}, func(Event) error { return nil }); err != nil {
			t.Errorf("events until its context ends: %v", err)
		}
	})
}

// HealthAddr and MetricsAddr answer while the platform runs.
func TestProbes(t *testing.T) {
	w := newWorld(t, t.TempDir(), natsserverOptions(t))
	p := w.platform("node-1", HealthAddr("127.0.0.1:0"), MetricsAddr("localhost:0"))
	var served []string
	p.serving = func(at string) { served = append(served, at) }
	stop := w.run(p)
	if len(served) != 2 {
		t.Fatalf("served at %v", served)
	}
	for _, url := range []string{served[0] + "/healthz", served[0] + "/readyz", served[1] + "/metrics"} {
		r, err := http.Get("http://" + url)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK || len(b) == 0 {
			t.Errorf("%s: %s %s", url, r.Status, b)
		}
	}
	stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); { // it is closed by the end, and not before it
		r, err := http.Get("http://" + served[0] + "/healthz")
		if err != nil {
			return
		}
		_ = r.Body.Close()
	}
	t.Error("it answers after the end")
}
