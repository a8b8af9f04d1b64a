//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/api"
)

// objects returns the store of an app's data, and the names of what it has of an epoch.
func (c *cluster) objects(app string, epoch uint64) (jetstream.ObjectStore, []string) {
	c.t.Helper()
	js, err := jetstream.New(c.nc)
	if err != nil {
		c.t.Fatal(err)
	}
	store, err := js.ObjectStore(c.t.Context(), litestream.Bucket(c.subjects, app))
	if err != nil {
		c.t.Fatal(err)
	}
	all, err := store.List(c.t.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		c.t.Fatal(err)
	}
	var names []string
	for _, o := range all {
		if strings.Contains(o.Name, fmt.Sprintf("/e%d/", epoch)) {
			names = append(names, o.Name)
		}
	}
	return store, names
}

// An app moves, and its data are to be deleted where they were: that is done once what is stored of its new epoch can be restored, and until then
// the node says why they are there.
func TestMovedWithDeletedData(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	from := c.applyLedger(app)
	to := other(from)
	w := c.writer(app, "a")
	w.more()
	there := func(node string) bool { _, err := os.Stat(c.database(app, node)); return err == nil }
	left := func(node string) []api.LeftView { return ask[api.NodeDetail](c, "node", "show", node).Left }

	// With nothing in the way.
	c.must("app", "move", app, "--from", from, "--to", to, "--delete-local")
	w.more()
	until(t, "the data are deleted", limit, func() bool { return !there(from) })
	until(t, "nothing is left behind", limit, func() bool { return len(left(from)) == 0 })

	// What is stored first of the new epoch is missing. The node that is left stands still until it is.
	from, to = to, from
	source := c.proc("agent-" + from)
	c.onEvent("placement.leadership.activated", app, func() { _ = source.signal(syscall.SIGSTOP) })
	c.must("app", "move", app, "--from", from, "--to", to, "--delete-local", "--detach")
	var (
		store   jetstream.ObjectStore
		stored  []string
		content []byte
	)
	until(t, "something of the new epoch is stored", limit, func() bool { store, stored = c.objects(app, 3); return len(stored) > 0 })
	slices.Sort(stored)
	content, err := store.GetBytes(t.Context(), stored[0])
	if err == nil {
		err = store.Delete(t.Context(), stored[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := source.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(t, "the node says why the data are there", limit, func() bool {
		l := left(from)
		return len(l) == 1 && strings.Contains(l[0].Why, "are not deleted yet: epoch 3: after 0 there is nothing")
	})
	if shown := c.must("node", "show", from).out; !strings.Contains(shown, "left behind: ledger-0 of ledger: data of ledger-0 are not deleted yet") {
		t.Errorf("node show:\n%s", shown)
	}
	if !there(from) {
		t.Error("the data are gone though what is stored is not enough to restore from")
	}
	if _, err := store.PutBytes(t.Context(), stored[0], content); err != nil {
		t.Fatal(err)
	}
	until(t, "the data are deleted", limit, func() bool { return !there(from) })
	until(t, "nothing is left behind", limit, func() bool { return len(left(from)) == 0 })
	w.more()
	c.audits(app, false, w)
}

// The whole store is away when the data are to be deleted: they stay, and the node says why, until all that the new
// active has is stored again.
func TestMovedWithDeletedDataAndNoStore(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	from := c.applyLedger(app)
	to := other(from)
	w := c.writer(app, "a")
	w.more()
	until(t, "something is shipped", limit, func() bool { return c.dataOn(app, from).Seq > 0 })
	source := c.proc("agent-" + from)
	c.onEvent("placement.leadership.activated", app, func() { _ = source.signal(syscall.SIGSTOP) })
	c.must("app", "move", app, "--from", from, "--to", to, "--delete-local", "--detach")
	until(t, "something of the new epoch is stored", limit, func() bool { _, stored := c.objects(app, 2); return len(stored) > 0 })
	js, err := jetstream.New(c.nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteObjectStore(t.Context(), litestream.Bucket(c.subjects, app)); err != nil {
		t.Fatal(err)
	}
	if err := source.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(t, "the node says why the data are there", limit, func() bool {
		left := ask[api.NodeDetail](c, "node", "show", from).Left
		return len(left) == 1 && strings.Contains(left[0].Why, "are not deleted yet")
	})
	if _, err := os.Stat(c.database(app, from)); err != nil {
		t.Errorf("what nobody can restore is deleted: %v", err)
	}
	w.more() // the app serves on
	until(t, "what is stored anew is enough, and the data are deleted", limit, func() bool { _, err := os.Stat(c.database(app, from)); return err != nil })
	c.audits(app, false, w)
}
