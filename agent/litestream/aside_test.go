//go:build linux

package litestream

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
)

// What was set aside is not in the way of what is set aside next: both may be the last of somebody's data.
func TestNothingThatWasSetAsideIsOverwritten(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	want := map[string]int{d.Path + ".aside-e0": 3, d.Path + ".aside-e0-2": 5, d.Path + ".aside-e0-3": 4}
	for _, n := range []int{3, 5, 4} { // nobody has ever led them
		a := l.Open(t, d)
		for i := range n {
			a.Write(t, i)
		}
		a.Kill(t)
		if _, err := r.Recover(limit(t), d, nil); err != nil {
			t.Fatal(err)
		}
	}
	for path, n := range want {
		aside := d
		aside.Path = path
		if got := len(l.Open(t, aside).Numbers(t)); got != n {
			t.Errorf("%s has %d entries, want %d", path, got, n)
		}
	}
}

// An agent that was killed after it had set something aside, and before it had written down that it did, says the same when it is asked again.
func TestWhatWasSetAsideIsToldAfterACrash(t *testing.T) {
	l := newLab(t)
	r, d, _, terms := l.taken(t, 10, 5)
	said, err := r.Salvage(limit(t), d, terms)
	if err != nil || said.Epoch != 1 {
		t.Fatalf("%+v, %v", said, err)
	}
	again, err := r.Salvage(limit(t), d, terms)
	said.Bytes, again.Bytes = 0, 0 // its log is a part of it by now
	if err != nil || again != said {
		t.Errorf("asked again: %+v, %v; before %+v", again, err, said)
	}
	l.follow(t, r, d, 2) // now they are another copy
	if again, err := r.Salvage(limit(t), d, terms); err != nil || again != (agent.Salvaged{}) {
		t.Errorf("of a copy: %+v, %v", again, err)
	}
}

// Of what others have, too, one is kept, however often a node leads and is succeeded.
func TestOneSpareIsKept(t *testing.T) {
	l := newLab(t)
	r, d, _, terms := l.taken(t, 10, 0)
	before := d.Path + ".aside-e0.spare"
	if err := os.WriteFile(before, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Salvage(limit(t), d, terms); err != nil || got != (agent.Salvaged{}) {
		t.Fatalf("all of it was shipped: %+v, %v", got, err)
	}
	l.follow(t, r, d, 2)
	if _, err := os.Stat(before); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the one before: %v", err)
	}
	d.Path += ".aside-e1.spare"
	if n := len(l.Open(t, d).Numbers(t)); n != 10 {
		t.Errorf("%d entries were set aside, want 10", n)
	}
}
