package labeler

import (
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// The host label is always a valid value, whatever an address looks like.
func TestHostLabel(t *testing.T) {
	for _, tt := range []struct{ address, hostname, want string }{
		{"10.0.0.7", "box", "10.0.0.7"}, {"", "box.example.com", "box.example.com"}, {"fd00::7", "", "fd00--7"}, {"::1", "", "1"}, {"::", "", "node-1"},
		{"", "", "node-1"}, {"ünï", "", "n"},
	} {
		got := hostOf(api.DeclareRequest{Node: "node-1", Facts: events.Facts{Address: tt.address}}, tt.hostname)
		if err := spec.ValidateLabelValue(hostLabel, got); err != nil || got != tt.want {
			t.Errorf("address %q, hostname %q: %q, want %q (%v)", tt.address, tt.hostname, got, tt.want, err)
		}
	}
}

// What a declaration needs next depends on what the log has of the node.
func TestDeclared(t *testing.T) {
	req := api.DeclareRequest{Node: "a", Inc: "i2", Machine: "m"}
	for _, tt := range []struct {
		name    string
		node    *projections.Node
		want    events.Type
		refused api.Code
	}{
		{"never seen", nil, "node.membership.joined", ""},
		{"a stranger was lost here", &projections.Node{ID: "a"}, "node.membership.joined", ""},
		{"lost before", &projections.Node{ID: "a", Status: projections.StatusLost, Inc: "i1", Machine: "m"}, "node.membership.joined", ""},
		{"lost before, on another machine", &projections.Node{ID: "a", Status: projections.StatusLost, Inc: "i1", Machine: "other"}, "node.membership.joined", ""},
		{"removed before", &projections.Node{ID: "a", Status: projections.StatusLeft, Inc: "i1", Machine: "m"}, "node.membership.joined", ""},
		{"rebooted", &projections.Node{ID: "a", Status: projections.StatusReady, Inc: "i1", Machine: "m"}, "node.membership.lost", ""},
		{"rebooted while suspected", &projections.Node{ID: "a", Status: projections.StatusSuspected, Inc: "i1", Machine: "m"}, "node.membership.lost", ""},
		{"another machine is not over", &projections.Node{ID: "a", Status: projections.StatusReady, Inc: "i1", Machine: "other"}, "", api.CodeConflict},
		{"over itself", &projections.Node{ID: "a", Status: projections.StatusLost, Inc: "i2", Machine: "m"}, "", api.CodeConflict},
		{"joined, labels to come", &projections.Node{ID: "a", Status: projections.StatusReady, Inc: "i2", Machine: "m"}, "node.labels.updated", ""},
		{"all said", &projections.Node{ID: "a", Status: projections.StatusReady, Inc: "i2", Machine: "m", Declared: map[string]string{hostLabel: "box"}}, "", ""},
	} {
		v := projections.NewCluster("test")
		if tt.node != nil {
			v.Nodes["a"] = tt.node
		}
		d, refused := declared(v, req, transport.LeaseRecord{Lease: api.Lease{Host: "box"}})
		var got events.Type
		if d != nil {
			got, _ = events.TypeOf(d.Data)
		}
		if got != tt.want || (refused == nil) != (tt.refused == "") || refused != nil && refused.Code != tt.refused {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, got, refused, tt.want, tt.refused)
		}
	}
}
