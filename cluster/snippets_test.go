package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	//lint:ignore ST1019 the snippets need both
	"github.com/go-cluster/go-cluster/cluster"
	. "github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/projections"
)

// What users were promised, word for word: every snippet of "Dynamic App Placement". Each compiles as it stands, and TestSnippetsDo
// runs the very same lines.
var snippets = map[string]string{
	"label change": `
// Node label update triggers re-evaluation
platform.UpdateNodeLabels("node-2", map[string]string{
    "role": "compute",  // was "storage"
    "zone": "us-east-1a",
})

// Apps with matching constraints will be moved
scheduler := cluster.App("scheduler",
    cluster.Singleton(),
    cluster.OnLabel("role", "controller"),  // Re-evaluated on label change
)`,
	"move": `
// Move specific app instance
platform.MoveApp(ctx, MoveRequest{
    App:      "convex",
    FromNode: "node-1",
    ToNode:   "node-2",
})`,
	"move anywhere": `
// Move to any eligible node
platform.MoveApp(ctx, MoveRequest{
    App:      "convex",
    FromNode: "node-1",
    // ToNode omitted - platform chooses best target
})`,
	"rebalance": `
// Rebalance app instances across cluster
platform.RebalanceApp(ctx, "cache")`,
	"drain": `
// Drain node (move all apps away)
platform.DrainNode(ctx, "node-1", DrainOptions{
    Timeout:       5 * time.Minute,
    Force:         false,
    DeleteLocal:   false,  // Keep local data for potential return
})`,
	"hooks": `
// Called before migration starts (can reject)
app.OnMigrationStart(func(ctx context.Context, from, to string) error {
    if !readyToMigrate() {
        return errors.New("not ready for migration")
    }
    return nil
})

// Called after migration completes
app.OnMigrationComplete(func(ctx context.Context, from, to string) error {
    log.Printf("Migrated from %s to %s", from, to)
    return nil
})

// Called when placement becomes invalid (no eligible nodes)
app.OnPlacementInvalid(func(ctx context.Context, reason string) error {
    alertOps("App placement constraint cannot be satisfied: " + reason)
    return nil
})`,
	"labels": `
// Update labels on current node
platform.SetLabels(ctx, map[string]string{
    "role":   "compute",
    "zone":   "us-east-1a",
    "custom": "value",
})

// Remove a label
platform.RemoveLabel(ctx, "custom")

// Watch for label changes (platform-wide)
platform.WatchLabels(ctx, func(nodeID string, labels map[string]string) {
    log.Printf("Node %s labels changed: %v", nodeID, labels)
})`,
	"auto-rebalance": `
platform := cluster.NewPlatform("prod", nodeID, natsURL,
    cluster.WithAutoRebalance(AutoRebalanceConfig{
        Enabled:         true,
        Interval:        5 * time.Minute,
        Threshold:       0.2,  // Trigger if imbalance > 20%
        MaxConcurrent:   2,    // Max concurrent migrations
        CooldownPeriod:  10 * time.Minute,
    }),
)`,
	"constraints": `
// Hard constraint - app CANNOT run if violated (default)
cluster.OnLabel("role", "compute")

// Soft constraint - prefer but allow violation
cluster.PreferLabel("zone", "us-east-1a")

// Weighted preference
cluster.PreferNode("node-1", 100)  // Higher weight = more preferred
cluster.PreferNode("node-2", 50)`,
	"update placement": `
// Update placement constraints at runtime
app.UpdatePlacement(ctx,
    cluster.OnLabel("role", "storage"),  // Changed from "compute"
    cluster.AwayFromApp("other-app"),
)

// Platform re-evaluates and migrates if needed`,
	"policy": `
cluster.WithMigrationPolicy(MigrationPolicy{
    // Minimum time between migrations of same app
    CooldownPeriod: 5 * time.Minute,

    // Maximum migrations per time window
    RateLimit: Rate{Count: 10, Window: time.Hour},

    // Require explicit approval for migrations
    RequireApproval: false,

    // Maintenance windows
    MaintenanceWindows: []TimeWindow{
        {Start: "02:00", End: "06:00", Timezone: "UTC"},
    },

    // Prevent migration during high load
    LoadThreshold: 0.8,  // Don't migrate if target node > 80% load
})`,
}

// bare are the names that the snippets use without their package.
var bare = regexp.MustCompile(`\b(MoveRequest|DrainOptions|AutoRebalanceConfig|MigrationPolicy|Rate|TimeWindow)\{|\[\]TimeWindow\b`)

// Each snippet compiles as it stands, with the package imported by its name, and with a dot; only variables complete it.
func TestSnippetsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the compiler")
	}
	dir := t.TempDir()
	overlay := map[string]map[string]string{"Replace": {}}
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	var packages []string
	for name, text := range snippets {
		for form, body := range map[string]string{
			"as it stands": text,
			"plain": bare.ReplaceAllStringFunc(text, func(s string) string {
				if rest, list := strings.CutPrefix(s, "[]"); list {
					return "[]cluster." + rest
				}
				return "cluster." + s
			}),
			"dot": strings.ReplaceAll(text, "cluster.", ""),
		} {
			pkg := fmt.Sprintf("snippet%d", len(packages))
			file := filepath.Join(dir, pkg+".go")
			if err := os.WriteFile(file, []byte(complete(pkg, body)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay["Replace"][filepath.Join(module, "cluster", "testdata", pkg, "x.go")] = file
			packages = append(packages, "./testdata/"+pkg)
			t.Logf("%s: %s, %s", pkg, name, form)
		}
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", os.DevNull}, packages...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// complete makes a package of a snippet: imports of what it names, and variables.
func complete(pkg, body string) string {
	var imports []string
	for path, name := range map[string]string{"context": "context.", "errors": "errors.", "log": "log.", "time": "time."} {
		if strings.Contains(body, name) || path == "context" {
			imports = append(imports, fmt.Sprintf("%q", path))
		}
	}
	imports = append(imports, `p "github.com/go-cluster/go-cluster/cluster"`) // for the variables alone
	if strings.Contains(body, "cluster.") {
		imports = append(imports, `"github.com/go-cluster/go-cluster/cluster"`)
	}
	if bare.MatchString(strings.ReplaceAll(body, "cluster.", "\x00")) && !strings.Contains(body, "cluster.M") && !strings.Contains(body, "cluster.Drain") &&
		!strings.Contains(body, "cluster.AutoRebalanceConfig") || regexp.MustCompile(`[^.\w](App|OnLabel|WithAutoRebalance|WithMigrationPolicy)\(`).MatchString(body) {
		imports = append(imports, `. "github.com/go-cluster/go-cluster/cluster"`)
	}
	slices.Sort(imports)
	unused := ""
	for _, v := range []string{"scheduler", "platform"} {
		if strings.Contains(body, v+" :=") {
			unused += "\n_ = " + v
		}
	}
	return "package " + pkg + "\nimport (\n" + strings.Join(imports, "\n") + "\n)\n" +
		"var (\nctx context.Context\nplatform *p.Platform\napp *p.Application\nnodeID, natsURL string\nreadyToMigrate func() bool\nalertOps func(string)\n)\n" +
		"func snippet() {\n" + body + unused + "\n}\n"
}

// The lines that TestSnippetsDo runs are those of the snippets.
func TestSnippetsAreRunAsTheyStand(t *testing.T) {
	src, err := os.ReadFile("snippets_test.go")
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)// snippet: ([a-z -]+)\n(.*?)// end of snippet`).FindAllStringSubmatch(string(src), -1) {
		runs[m[1]] = strings.TrimPrefix(squeeze(m[2]), "return ")
	}
	for name, text := range snippets {
		if runs[name] != squeeze(text) {
			t.Errorf("%s: run is\n%s\nwant\n%s", name, runs[name], squeeze(text))
		}
	}
}

// squeeze leaves nothing of layout, and gofmt changes nothing else.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// Each snippet does what its comment says, on a real cluster.
func TestSnippetsDo(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster in real time")
	}
	w := cluster.NewWorld(t)
	ctx := w.Context()
	var (
		ready   atomic.Bool
		alerted atomic.Pointer[string]
	)
	ready.Store(true)
	readyToMigrate := ready.Load
	alertOps := func(s string) { alerted.Store(&s) }
	platforms, apps := map[string]*cluster.Platform{}, map[string]*cluster.Application{}
	for _, node := range []string{"node-1", "node-2", "node-3"} {
		platform := cluster.NewPlatform("prod", node, w.URL(), cluster.DataDir(w.Dir(node)), cluster.Address("127.0.0.1"))
		app := cluster.App("convex", cluster.Singleton(), cluster.PreferNode("node-1", 100))
		// snippet: hooks
		// Called before migration starts (can reject)
		app.OnMigrationStart(func(ctx context.Context, from, to string) error {
			if !readyToMigrate() {
				return errors.New("not ready for migration")
			}
			return nil
		})

		// Called after migration completes
		app.OnMigrationComplete(func(ctx context.Context, from, to string) error {
			log.Printf("Migrated from %s to %s", from, to)
			return nil
		})

		// Called when placement becomes invalid (no eligible nodes)
		app.OnPlacementInvalid(func(ctx context.Context, reason string) error {
			alertOps("App placement constraint cannot be satisfied: " + reason)
			return nil
		})
		// end of snippet
		platforms[node], apps[node] = platform, app
	}
	logged := captureLog(t)
	for _, node := range []string{"node-1", "node-2", "node-3"} {
		scheduler := cluster.App("scheduler", cluster.Singleton(), cluster.OnLabel("role", "controller"))
		choosy := cluster.App("choosy", append([]cluster.AppOption{cluster.Singleton()}, options(constraints())...)...)
		if err := platforms[node].Register(apps[node], scheduler, choosy, cluster.App("cache", cluster.Replicas(2))); err != nil {
			t.Fatal(err)
		}
		w.Start(platforms[node])
		t.Cleanup(platforms[node].Close)
	}
	platform, app := platforms["node-3"], apps["node-3"]
	w.On("convex", "node-1")
	// "Move specific app instance", and the hooks around it.
	ready.Store(false)
	if err := platform.MoveApp(ctx, MoveRequest{App: "convex", FromNode: "node-1", ToNode: "node-2"}); !errors.Is(err, ErrVetoed) || !strings.Contains(err.Error(), "not ready for migration") {
		t.Errorf("a move that its hook rejects: %v", err)
	}
	ready.Store(true)
	// snippet: move
	// Move specific app instance
	platform.MoveApp(ctx, MoveRequest{
		App:      "convex",
		FromNode: "node-1",
		ToNode:   "node-2",
	})
	// end of snippet
	w.On("convex", "node-2")
	w.Idle("the hook has logged the move", func() bool { return strings.Contains(logged(), "Migrated from node-1 to node-2") })

	if err := platform.MoveApp(ctx, MoveRequest{App: "convex", ToNode: "node-1"}); err != nil {
		t.Fatal(err)
	}
	// snippet: move anywhere
	// Move to any eligible node
	platform.MoveApp(ctx, MoveRequest{
		App:      "convex",
		FromNode: "node-1",
		// ToNode omitted - platform chooses best target
	})
	// end of snippet
	w.Until("convex has left node-1", func(v *projections.Cluster) bool {
		in := v.Apps["convex"].Instances["convex-0"]
		return len(v.Apps["convex"].Open) == 0 && in != nil && in.Node != "node-1" && in.Healthy
	})

	// "Apps with matching constraints will be moved"
	if err := platform.UpdateNodeLabels("node-2", map[string]string{"role": "controller"}); err != nil {
		t.Fatal(err)
	}
	w.On("scheduler", "node-2")
	if err := platform.UpdateNodeLabels("node-3", map[string]string{"role": "controller"}); err != nil {
		t.Fatal(err)
	}
	func() {
		// snippet: label change
		// Node label update triggers re-evaluation
		platform.UpdateNodeLabels("node-2", map[string]string{
			"role": "compute", // was "storage"
			"zone": "us-east-1a",
		})

		// Apps with matching constraints will be moved
		scheduler := cluster.App("scheduler",
			cluster.Singleton(),
			cluster.OnLabel("role", "controller"), // Re-evaluated on label change
		)
		// end of snippet
		if scheduler.Name() != "scheduler" {
			t.Error("another app")
		}
	}()
	w.On("scheduler", "node-3")

	// "Update labels on current node" … "Remove a label" … "Watch for label changes (platform-wide)"
	// snippet: labels
	// Update labels on current node
	platform.SetLabels(ctx, map[string]string{
		"role":   "compute",
		"zone":   "us-east-1a",
		"custom": "value",
	})

	// Remove a label
	platform.RemoveLabel(ctx, "custom")

	// Watch for label changes (platform-wide)
	platform.WatchLabels(ctx, func(nodeID string, labels map[string]string) {
		log.Printf("Node %s labels changed: %v", nodeID, labels)
	})
	// end of snippet
	if detail, err := platform.Node(ctx, "node-3"); err != nil || detail.Labels["role"] != "compute" || detail.Labels["zone"] != "us-east-1a" || detail.Labels["custom"] != "" {
		t.Errorf("labels of the current node: %v %v", detail.Labels, err)
	}
	if err := platform.UpdateNodeLabels("node-1", map[string]string{"watched": "yes"}); err != nil {
		t.Fatal(err)
	}
	w.Idle("the watcher has logged a change of another node", func() bool {
		return regexp.MustCompile(`Node node-1 labels changed: map\[.*watched:yes`).MatchString(logged())
	})

	// "Update placement constraints at runtime" … "Platform re-evaluates and migrates if needed", and with no eligible node the alarm.
	if err := platform.UpdateNodeLabels("node-3", map[string]string{"role": "storage"}); err != nil {
		t.Fatal(err)
	}
	// snippet: update placement
	// Update placement constraints at runtime
	app.UpdatePlacement(ctx,
		cluster.OnLabel("role", "storage"), // Changed from "compute"
		cluster.AwayFromApp("other-app"),
	)

	// Platform re-evaluates and migrates if needed
	// end of snippet
	w.On("convex", "node-3")
	if err := app.UpdatePlacement(ctx, cluster.OnLabel("role", "nowhere")); err != nil {
		t.Fatal(err)
	}
	w.Idle("operators are alerted", func() bool {
		s := alerted.Load()
		return s != nil && strings.HasPrefix(*s, "App placement constraint cannot be satisfied: none of 3 nodes can take convex-0")
	})
	if err := app.UpdatePlacement(ctx, cluster.PreferNode("node-1", 100)); err != nil {
		t.Fatal(err)
	}
	w.On("convex", "node-1")

	// "app CANNOT run if violated" … "prefer but allow violation" … "Higher weight = more preferred"
	w.On("choosy", "node-2") // the only one with role=compute
	if err := platform.UpdateNodeLabels("node-1", map[string]string{"role": "compute"}); err != nil {
		t.Fatal(err)
	}
	if err := platform.UpdateNodeLabels("node-2", map[string]string{"role": "none"}); err != nil {
		t.Fatal(err)
	}
	w.On("choosy", "node-1") // though its zone is another

	// "Rebalance app instances across cluster"
	// snippet: rebalance
	// Rebalance app instances across cluster
	platform.RebalanceApp(ctx, "cache")
	// end of snippet
	if moves, err := platform.Migrations(ctx, "cache"); err != nil || slices.ContainsFunc(moves, func(m MigrationView) bool { return m.Status != "completed" }) {
		t.Errorf("after a rebalance: %+v %v", moves, err)
	}

	if err := platform.UpdateNodeLabels("node-2", map[string]string{"role": "compute"}); err != nil {
		t.Fatal(err)
	}

	// "Drain node (move all apps away)"
	// snippet: drain
	// Drain node (move all apps away)
	platform.DrainNode(ctx, "node-1", DrainOptions{
		Timeout:     5 * time.Minute,
		Force:       false,
		DeleteLocal: false, // Keep local data for potential return
	})
	// end of snippet
	if detail, err := platform.Node(ctx, "node-1"); err != nil || len(detail.Instances) != 0 || detail.Scheduling != "cordoned" {
		t.Errorf("a drained node: %+v %v", detail, err)
	}

	// What is declared is in force, and shown.
	_, four := declaring(w.URL(), "node-4", cluster.DataDir(w.Dir("node-4")), cluster.Address("127.0.0.1"))
	w.Start(four)
	w.Idle("the declared policy is in force", func() bool {
		p, err := platform.Policy(ctx)
		return err == nil && p.Policy.Migration.LoadThreshold == 0.8 && p.Policy.Migration.RateLimit.Count == 10 && len(p.Declared) == 1 && p.Declared[0].InForce
	})
	_, err := four.Policy(ctx)
	if err != nil {
		t.Error(err)
	}
	four.Close()
	rebalancing, _ := declaring(w.URL(), "node-5")
	if _, err := rebalancing.Policy(ctx); err != nil {
		t.Error(err)
	}
	rebalancing.Close()
}

func options(rules []cluster.Constraint) (out []cluster.AppOption) {
	for _, r := range rules {
		out = append(out, r)
	}
	return out
}

// declaring is a program that declares the policy of the snippets.
func declaring(natsURL, nodeID string, more ...cluster.Option) (*cluster.Platform, *cluster.Platform) {
	policy := func() cluster.Option {
		// snippet: policy
		return cluster.WithMigrationPolicy(MigrationPolicy{
			// Minimum time between migrations of same app
			CooldownPeriod: 5 * time.Minute,

			// Maximum migrations per time window
			RateLimit: Rate{Count: 10, Window: time.Hour},

			// Require explicit approval for migrations
			RequireApproval: false,

			// Maintenance windows
			MaintenanceWindows: []TimeWindow{
				{Start: "02:00", End: "06:00", Timezone: "UTC"},
			},

			// Prevent migration during high load
			LoadThreshold: 0.8, // Don't migrate if target node > 80% load
		})
		// end of snippet
	}
	// snippet: auto-rebalance
	platform := cluster.NewPlatform("prod", nodeID, natsURL,
		cluster.WithAutoRebalance(AutoRebalanceConfig{
			Enabled:        true,
			Interval:       5 * time.Minute,
			Threshold:      0.2, // Trigger if imbalance > 20%
			MaxConcurrent:  2,   // Max concurrent migrations
			CooldownPeriod: 10 * time.Minute,
		}),
	)
	// end of snippet
	return platform, cluster.NewPlatform("prod", nodeID, natsURL, append(more, policy())...)
}

func constraints() []cluster.Constraint {
	// snippet: constraints
	// Hard constraint - app CANNOT run if violated (default)
	cluster.OnLabel("role", "compute")

	// Soft constraint - prefer but allow violation
	cluster.PreferLabel("zone", "us-east-1a")

	// Weighted preference
	cluster.PreferNode("node-1", 100) // Higher weight = more preferred
	cluster.PreferNode("node-2", 50)
	// end of snippet
	return []cluster.Constraint{OnLabel("role", "compute"), PreferLabel("zone", "us-east-1a"), PreferNode("node-1", 100), PreferNode("node-2", 50)}
}

// captureLog returns what the standard logger has written since.
func captureLog(t *testing.T) func() string {
	var b lockedBuffer
	log.SetOutput(&b)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	return b.String
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
