//go:build linux

package litestream

import (
	"os"
	"slices"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
)

// Somebody puts a database beside the one that is there, to go on with: that is what Recover makes it, again where whoever asked has died
// meanwhile, whatever the store and the node have. What the node led is set aside.
func TestGivenDatabase(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead, err := r.Lead(t.Context(), d, 1)
	if err != nil {
		t.Fatal(err)
	}
	a.Write(t, 1)
	a.Close(t)
	if _, _, err := lead.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	backup, err := os.ReadFile(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	if lead, err = r.Lead(t.Context(), d, 2); err != nil {
		t.Fatal(err)
	}
	a = l.Open(t, d)
	a.Write(t, 2)
	a.Close(t)
	if _, _, err := lead.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Path+givenTail, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	terms := []agent.Term{{Epoch: 2, Here: true, Activated: true}, {Epoch: 1, Here: true, Activated: true}}
	for range 2 {
		got, err := r.Recover(t.Context(), d, terms)
		if is, err2 := checksum(d.Path); err != nil || err2 != nil || got.Checksum != is || got.Complete {
			t.Fatalf("%+v, %v; %s is there, %v", got, err, is, err2)
		}
	}
	a = l.Open(t, d)
	if n := a.Numbers(t); !slices.Equal(n, []int{1}) {
		t.Errorf("it has %v", n)
	}
	a.Close(t)
	if _, err := os.Stat(d.Path + ".aside-e2"); err != nil {
		t.Errorf("what was led here: %v", err)
	}
	if err := r.Promote(t.Context(), d, 3); err != nil { // from here on it is the app's
		t.Fatal(err)
	}
	if got, err := r.Recover(t.Context(), d, append([]agent.Term{{Epoch: 3, Here: true}}, terms...)); err != nil || got.Position.Epoch != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}
