//go:build linux

package chaos

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/examples/ledger"
	"github.com/go-cluster/go-cluster/projections"
)

// What docs/data.md says of recovery by hand, as somebody types it.
func TestRecoveryByHand(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	from := c.applyLedger(app)
	to := other(from)
	w := c.writer(app, "a")
	w.more()
	w.end()
	acked := w.count()

	// The newest copy: on the node that app show names, while nothing has it open.
	c.remove(app)
	backup := map[string][]byte{}
	for _, tail := range []string{"", "-wal"} {
		if b, err := os.ReadFile(c.database(app, from) + tail); err == nil {
			backup[tail] = b
		}
	}
	if len(backup[""]) == 0 {
		t.Fatalf("no database on %s after app remove", from)
	}

	// The app goes on for a while, and with more than the backup has.
	c.apply(app, fmt.Sprintf(ledgerSpec, app, binary, c.journal(app)))
	again := c.writer(app, "b")
	again.more()
	again.end()

	// Start from a backup.
	c.remove(app)
	c.put(app, to, ".restore", backup)
	c.apply(app, fmt.Sprintf(ledgerSpec+"on_nodes: [%s]\n", app, binary, c.journal(app), to))
	c.serves(app)
	if n := len(c.entries(app)); n != acked {
		t.Errorf("%d entries, the backup had %d", n, acked)
	}
	// It moves on as ever. What it has gone on without is on the other node, is set aside there and told.
	c.apply(app, fmt.Sprintf(ledgerSpec, app, binary, c.journal(app)))
	c.moveLedger(app, to, from)
	until(t, "what was left behind is told", limit, func() bool {
		return strings.Contains(c.must("app", "show", app).out, "data lost: ")
	})
	if n := len(c.entries(app)); n != acked {
		t.Errorf("%d entries after a move, the backup had %d", n, acked)
	}

	// An app that the cluster has never run begins with it, too.
	const fresh = "fresh"
	c.put(fresh, to, ".restore", backup)
	c.apply(fresh, fmt.Sprintf(ledgerSpec+"on_nodes: [%s]\n", fresh, binary, c.journal(fresh), to))
	c.serves(fresh)
	if n := len(c.entries(fresh)); n != acked {
		t.Errorf("%d entries of a new app, the backup had %d", n, acked)
	}
}

// remove removes an app and waits until nothing of it runs.
func (c *cluster) remove(app string) {
	c.t.Helper()
	c.must("app", "remove", app)
	c.until("the app is gone", limit, func(v *projections.Cluster) bool {
		return v.Apps[app] == nil || len(v.Apps[app].Instances) == 0 && len(v.Apps[app].Open) == 0
	})
}

// put puts a database, and what belongs to it, into the data directory of an app on a node.
func (c *cluster) put(app, node, tail string, files map[string][]byte) {
	c.t.Helper()
	path := c.database(app, node) + tail
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	for more, b := range files {
		if err := os.WriteFile(path+more, b, 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) entries(app string) []ledger.Entry {
	c.t.Helper()
	h := c.web(limit)
	have, err := call[[]ledger.Entry](&h, http.MethodGet, c.base(app)+"/entries")
	if err != nil {
		c.t.Fatal(err)
	}
	return have
}
