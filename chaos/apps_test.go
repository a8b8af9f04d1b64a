//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
)

// The sample apps, as specs: name, binary, and then what is their own. Numbers come fast, so that a life that goes on for too long
// shows.
const (
	counterSpec = `name: %s
mode: singleton
process:
  command: [%s, sample, counter]
  stop_timeout: 5s
  env: {JOURNAL: %s, INTERVAL: 20ms}
`
	webSpec = `name: %s
mode: replicas
replicas: %d
process:
  command: [%s, sample, web]
  stop_timeout: 5s
`
	commonSpec = `require: ["!maintenance"]
ports: {http: 0}
health: {http: "http://$GC_ADDRESS:$GC_PORT_HTTP/health", interval: 200ms, healthy_after: 1}
migration: {step_timeout: 10s}
`
)

// applyCounter declares a singleton and returns the node that it runs on.
func (c *cluster) applyCounter(app string) string {
	c.t.Helper()
	c.apply(app, fmt.Sprintf(counterSpec, app, binary, c.journal(app)))
	return c.on(app)[0]
}

// applyWeb declares a pool and returns the nodes that it runs on.
func (c *cluster) applyWeb(app string, replicas int) []string {
	c.t.Helper()
	c.apply(app, fmt.Sprintf(webSpec, app, replicas, binary))
	return c.on(app)
}

func (c *cluster) apply(app, spec string) {
	c.t.Helper()
	c.applyWhole(app, spec+commonSpec)
}

func (c *cluster) applyWhole(app, spec string) {
	c.t.Helper()
	file := filepath.Join(c.dir, app+".yaml")
	if err := os.WriteFile(file, []byte(spec+runAs()), 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.must("app", "apply", "-f", file)
	c.until(app+" runs", limit, func(v *projections.Cluster) bool { return runs(v, app) })
}

// runAs is what a spec needs where the agent is root.
func runAs() string {
	if os.Geteuid() == 0 {
		return "user: root\n"
	}
	return ""
}

// runs says whether the app is as declared and nothing moves.
func runs(v *projections.Cluster, app string) bool {
	a := v.Apps[app]
	if a == nil || len(a.Open) > 0 || a.Pending != nil || len(a.Instances) != a.Desired() {
		return false
	}
	for _, in := range a.Instances {
		if in.State != api.InstanceRunning || !in.Healthy {
			return false
		}
	}
	return true
}

// on returns where an app's instances are, ordered by instance.
func (c *cluster) on(app string) (nodes []string) {
	c.view(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil {
			for _, in := range a.SortedInstances() {
				nodes = append(nodes, in.Node)
			}
		}
	})
	return nodes
}

// living returns the processes of an app, wherever they are.
func (c *cluster) living(app string) (out []seen) {
	for _, p := range processesOf(c.dir) {
		if p.getenv("GC_APP") == app && p.getenv("GC_DATA_DIR") != "" {
			out = append(out, p)
		}
	}
	return out
}

// serves waits until every instance of the app answers where the log says it is, and as many processes live as there should be.
func (c *cluster) serves(app string) {
	c.t.Helper()
	why := ""
	ok := within(c.t, limit, func() bool {
		var want []projections.Instance
		calm := false
		c.view(func(v *projections.Cluster) {
			if calm = runs(v, app); calm {
				for _, in := range v.Apps[app].SortedInstances() {
					want = append(want, *in)
				}
			}
		})
		if !calm {
			why = "the log does not have it running"
			return false
		}
		if living := c.living(app); len(living) != len(want) {
			why = fmt.Sprintf("%d instances, and these processes:\n%s", len(want), describe(living))
			return false
		}
		for _, in := range want {
			if err := answers(in.Address, in.Ports["http"], in.Node); err != nil {
				why = fmt.Sprintf("%s: %v", in.ID, err)
				return false
			}
		}
		return true
	})
	if !ok {
		c.t.Fatalf("%s does not serve after %s: %s", app, limit, why)
	}
}

// answers says why an instance does not, with a connection of its own.
func answers(address string, port int, node string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(address, strconv.Itoa(port))+"/health", nil)
	if err != nil {
		return err
	}
	rep, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("on %s: %w", node, err)
	}
	defer func() { _ = rep.Body.Close() }()
	if rep.StatusCode != http.StatusOK {
		return fmt.Errorf("on %s: %s", node, rep.Status)
	}
	return nil
}
