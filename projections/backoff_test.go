package projections

import (
	"fmt"
	"testing"
	"time"
)

// An app that works nowhere is tried on each node soon, and again less and less often, the more nodes it has failed on; one that fails on
// one node rests from that one only.
func TestBackoffOverManyNodes(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	attempts := func(nodes int) (first, all int) {
		a := &App{Backoff: map[string]Backoff{}}
		for s := range 600 {
			at := start.Add(time.Duration(s) * time.Second)
			for n := range nodes {
				id := fmt.Sprint("n", n)
				if b, failed := a.Backoff[id]; failed && at.Before(b.Until) {
					continue
				}
				a.backOff(id, at, "exit status 1")
				if all++; s < 60 {
					first++
				}
			}
		}
		return first, all
	}
	for nodes, want := range map[int][2]int{1: {6, 10}, 2: {11, 20}, 7: {21, 63}, 50: {107, 450}} {
		if first, all := attempts(nodes); first != want[0] || all != want[1] {
			t.Errorf("%d nodes: %d attempts in the first minute, %d in ten; want %d, %d", nodes, first, all, want[0], want[1])
		}
	}
	a := &App{Backoff: map[string]Backoff{}}
	for range 6 {
		a.backOff("n1", start, "exit status 1")
	}
	if until := a.Backoff["n1"].Until; until != start.Add(32*time.Second) {
		t.Errorf("after 6 failures on one node it rests until %s", until)
	}
	if _, rests := a.Backoff["n2"]; rests {
		t.Error("a node where it did not fail is left alone")
	}
}
