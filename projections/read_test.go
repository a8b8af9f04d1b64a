package projections

import (
	"slices"
	"testing"
)

// Instances are in the order of their slots, whatever else an app's instances may be called.
func TestSortedInstances(t *testing.T) {
	for _, want := range [][]string{
		{"p-0", "p-2", "p-9", "p-10", "p-100"},
		{"p", "p-0", "p-00", "p-02", "p-2", "p-10"},
		{"p-1", "p-10", "p-n2", "p-n3", "p-n10", "q-0"},
	} {
		a := &App{Name: "p", Instances: map[string]*Instance{}}
		for _, id := range want {
			a.Instances[id] = &Instance{ID: id}
		}
		slices.SortFunc(want, CompareInstances)
		var got []string
		for _, in := range a.SortedInstances() {
			got = append(got, in.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if ids := []string{"p-2", "p-10"}; CompareInstances(ids[0], ids[1]) >= 0 {
		t.Error("slots are compared as text")
	}
}
