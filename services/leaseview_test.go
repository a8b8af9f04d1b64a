package services

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport"
)

// Whoever reads what nodes say is told each time what is new, of each node the last.
func TestSightReader(t *testing.T) {
	v := newLeaseView(func() time.Duration { return 0 })
	says := func(node string, seq uint64, load float64) {
		v.observe(transport.LeaseUpdate{Node: node, Record: transport.LeaseRecord{Seq: seq, Lease: api.Lease{Node: node, Load: api.Load{CPU: load}}}})
	}
	read := func(r *SightReader) map[string]float64 {
		got := map[string]float64{}
		r.Each(func(node string, s api.Sight) { got[node] = s.CPU })
		return got
	}
	says("n1", 1, 0.1)
	says("n2", 2, 0.2)
	r := v.ReadSights()
	other := v.ReadSights()
	for _, step := range []struct {
		says func()
		want map[string]float64
	}{
		{func() {}, map[string]float64{"n1": 0.1, "n2": 0.2}},
		{func() {}, map[string]float64{}},
		{func() { says("n2", 3, 0.3); says("n2", 4, 0.4); says("n3", 5, 0.5) }, map[string]float64{"n2": 0.4, "n3": 0.5}},
		{func() { says("n2", 4, 0.4) }, map[string]float64{}}, // delivered again
		{func() { r.Close(); says("n1", 6, 0.6) }, map[string]float64{}},
	} {
		step.says()
		if d := cmp.Diff(step.want, read(r)); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
	if d := cmp.Diff(map[string]float64{"n1": 0.6, "n2": 0.4, "n3": 0.5}, read(other)); d != "" {
		t.Errorf("another reader: (-want +got)\n%s", d)
	}
}
