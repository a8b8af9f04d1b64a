//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-cluster/go-cluster/projections"
)

// programBinary is examples/ledger-go, built once, below root as everything that runs here.
var programBinary = sync.OnceValues(func() (string, error) {
	to := filepath.Join(root, "ledger-go")
	if out, err := exec.Command("go", "build", "-o", to, "../examples/ledger-go").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ledger-go: %w\n%s", err, out)
	}
	return to, nil
})

// startPrograms starts a whole cluster whose nodes are programs that have the ledger in them, in what -keep says, and waits until it runs.
func startPrograms(t *testing.T, keep string, nodes ...string) *cluster {
	t.Helper()
	self, err := programBinary()
	if err != nil {
		t.Fatal(err)
	}
	c := startServices(t)
	sites := map[string]string{}
	for _, n := range nodes {
		p := c.spawn(&process{name: "agent-" + n, env: c.mark(), argv: []string{self, "-cluster", name, "-node", n, "-nats", c.url,
			"-data-dir", filepath.Join(c.dir, "nodes", n), "-http", "127.0.0.1:0", "-keep", keep, "-journal", c.journal("ledger")}})
		until(t, n+" says where it answers", limit, func() bool {
			b, _ := os.ReadFile(p.log)
			_, after, _ := strings.Cut(string(b), "ledger-go: on ")
			line, _, whole := strings.Cut(after, "\n")
			sites[n] = line
			return whole
		})
	}
	c.view(func(*projections.Cluster) { c.sites = sites })
	c.until("the nodes are ready, and the ledger runs", limit, func(v *projections.Cluster) bool { return ready(v, nodes...) && runs(v, "ledger") })
	return c
}
