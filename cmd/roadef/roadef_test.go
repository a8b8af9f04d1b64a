package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/placement/search"
)

// Two resources, the second transient; three machines, the last alone in its neighborhood and location; service 1 needs service 0;
// three processes, the first two of service 0, which spreads over two locations.
const (
	tinyModel = `2  0 10  1 5
3
0 0  10 10  4 10  0 1 2
0 0  10 10  6 10  1 0 2
1 1  10 10  8 10  2 2 0
2  2 0  1 1 0
3  0 4 4 3  0 2 2 1  1 3 5 2
1  0 1 2 7
1 10 100`
	tinyAssignment = "0 2 0"
)

func tiny(t *testing.T) *instance {
	t.Helper()
	in, err := read(strings.NewReader(tinyModel), strings.NewReader(tinyAssignment))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestCostByHand(t *testing.T) {
	in := tiny(t)
	// Machine 0 has used 7 and 9: 3 above safety in resource 0, and 2·3−1 out of balance. Machine 1 is empty: 2·10−10. Machine 2 has used 2 and 2:
	// 2·8−8.
	if got, err := evaluate(in, []int{0, 2, 0}); err != nil || got != 10*3+7*(5+10+8) {
		t.Errorf("%d, %v", got, err)
	}
	// The last process moves to machine 1: it pays 2, its service 10, the way 100. Machine 0: 2·6−6, machine 1: 2·7−5, machine 2: 8.
	if got, err := evaluate(in, []int{0, 2, 1}); err != nil || got != 7*(6+9+8)+1*2+10*1+100*1 {
		t.Errorf("%d, %v", got, err)
	}
}

func TestEachRuleIsChecked(t *testing.T) {
	in := tiny(t)
	for want, at := range map[string][]int{
		"conflict: two processes of service 0 on machine 0": {0, 0, 0},
		"spread: service 0 in 1 locations, needs 2":         {0, 1, 0},
		"no machine 3":              {3, 2, 0},
		"2 processes assigned of 3": {0, 2},
	} {
		if _, err := evaluate(in, at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	in.machines[1].capacity[0] = 2
	if _, err := evaluate(in, []int{0, 2, 1}); err == nil || !strings.HasPrefix(err.Error(), "capacity: machine 1 holds 3 of resource 0") {
		t.Error(err)
	}
	in = tiny(t)
	in.original = []int{0, 2, 1}
	in.machines[1].capacity[1] = 8 // 5 that leaves and 4 that comes: both hold the transient resource
	if _, err := evaluate(in, []int{1, 2, 0}); err == nil || !strings.HasPrefix(err.Error(), "capacity: machine 1 holds 9 of resource 1") {
		t.Error(err)
	}
	in = tiny(t)
	in.services[0].spread = 1
	in.processes[1].service, in.services = 2, append(in.services, service{})
	if _, err := evaluate(in, []int{0, 2, 2}); err == nil || !strings.HasPrefix(err.Error(), "dependency: process 2 of service 1 in neighborhood 1") {
		t.Error(err)
	}
}

// The search and the evaluation count alike, and on three processes the search finds the best of all assignments.
func TestSearchAgreesWithEvaluation(t *testing.T) {
	in := tiny(t)
	best := int64(-1)
	for i := range 27 {
		if c, err := evaluate(in, []int{i % 3, i / 3 % 3, i / 9}); err == nil && (best < 0 || c < best) {
			best = c
		}
	}
	r, err := search.Run(problem(in), search.Options{Seed: 1, Steps: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := evaluate(in, r.At); err != nil || cost != r.Cost || cost != best {
		t.Errorf("%d, %v; the search says %d, the best is %d", cost, err, r.Cost, best)
	}
}

func TestBrokenFilesAreRefused(t *testing.T) {
	for name, c := range map[string][2]string{
		"cut":       {tinyModel[:40], tinyAssignment},
		"negative":  {strings.Replace(tinyModel, "10", "-1", 1), tinyAssignment},
		"machine":   {tinyModel, "0 3 0"},
		"too short": {tinyModel, "0 2"},
		"huge":      {"999999999999", ""},
	} {
		if _, err := read(strings.NewReader(c[0]), strings.NewReader(c[1])); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// The challenge's own toy, where its data is at hand.
func TestToy(t *testing.T) {
	folder := os.Getenv("ROADEF_DATA")
	if folder == "" {
		t.Skip("ROADEF_DATA names no folder with the challenge's files")
	}
	in, err := load(folder, "a0_0")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := evaluate(in, in.original); err != nil || got != 3840 {
		t.Errorf("%d, %v; it is 3840", got, err)
	}
}

func TestTableNamesItsRivals(t *testing.T) {
	var b strings.Builder
	tb := &table{out: &b}
	tb.head()
	for _, p := range published {
		if p.name != "b_7" && p.name != "b_10" {
			tb.row(&instance{name: p.name}, p.best, p.best+p.best/100, 1e6, time.Second, time.Second)
		}
	}
	tb.foot()
	if out := b.String(); !strings.Contains(out, "sum of scores 8.000 over 8 instances") || !strings.Contains(out, "S41, the winner") {
		t.Error(out)
	}
}
