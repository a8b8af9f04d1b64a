package engine_test

import (
	"os"
	"testing"

	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// What has no place by the count alone, and is placed after it, makes the plan less even than the count: the bound is one for plans like this then.
func TestBoundOfWhatIsPlacedAfterCounting(t *testing.T) {
	b, err := os.ReadFile("testdata/placed_after_counting.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := snapshot.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	res := compute(t, s, engine.Request{Rebalance: true})
	if err := check.Bound(s, res.Plan, &res.Proof); err != nil {
		t.Error(err)
	}
}
