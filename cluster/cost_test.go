package cluster_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A program that imports this package alone links neither a NATS server, nor SQLite, nor the services, nor the CLI.
func TestWhatImportingCosts(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the go command")
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/go-cluster/go-cluster/cluster").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	for _, pkg := range linked {
		for _, heavy := range []string{"github.com/nats-io/nats-server", "github.com/nats-io/jsm.go", "sqlite", "litestream", "github.com/alecthomas/kong", "github.com/jedib0t",
			"github.com/go-cluster/go-cluster/services", "github.com/go-cluster/go-cluster/cmd", "github.com/go-cluster/go-cluster/placement", "github.com/go-cluster/go-cluster/agent/process"} {
			if strings.Contains(pkg, heavy) {
				t.Errorf("it links %s", pkg)
			}
		}
	}
	if len(linked) < 100 {
		t.Fatalf("%d packages: that is not all of them", len(linked))
	}
}
