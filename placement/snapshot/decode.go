package snapshot

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// MaxStateBytes limits a state document: some three million instances.
const MaxStateBytes = 512 << 20

const mostFaults = 20

// Decode reads and checks a state. An error names the field, or the thing and what is wrong with it; all that is wrong is reported,
// up to a limit.
func Decode(data []byte) (*State, error) {
	s, err := spec.DecodeStrict[State](data, MaxStateBytes)
	if err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &s, nil
}

// Validate reports what in the state contradicts itself.
func (s *State) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		if len(errs) < mostFaults {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	nodes, apps := make(map[string]bool, len(s.Nodes)), make(map[string]bool, len(s.Apps))
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if err := spec.ValidateName("node", n.ID); err != nil {
			bad("nodes[%d].id: %w", i, err)
		}
		if nodes[n.ID] {
			bad("nodes[%d]: node %s is listed twice", i, n.ID)
		}
		nodes[n.ID] = true
		if !slices.Contains([]string{"", api.NodeReady, api.NodeSuspected, api.NodeIsLost, api.NodeHasLeft}, n.Status) {
			bad("node %s: status %q: want ready, suspected, lost or left", n.ID, n.Status)
		}
		if !slices.Contains([]string{"", api.Schedulable, api.Cordoned, api.Draining}, n.Scheduling) {
			bad("node %s: scheduling %q: want schedulable, cordoned or draining", n.ID, n.Scheduling)
		}
		if n.Weight < 0 || n.Weight > maxWeight {
			bad("node %s: weight %s: want more than 0 and at most %s", n.ID, n.Weight, Amount(maxWeight))
		}
		if !(n.Load >= 0 && n.Load <= 1000) {
			bad("node %s: load %g: want a share such as 0.8", n.ID, n.Load)
		}
		for _, k := range sorted(n.Capacity) {
			if n.Capacity[k] < 0 {
				bad("node %s: capacity.%s %s: must not be negative", n.ID, k, n.Capacity[k])
			}
		}
	}
	for i := range s.Apps {
		a := &s.Apps[i]
		if err := a.CheckRules(); err != nil {
			bad("apps[%d] (%s): %w", i, a.Name, err)
		}
		if apps[a.Name] {
			bad("apps[%d]: app %s is listed twice", i, a.Name)
		}
		apps[a.Name] = true
		if !slices.Contains([]spec.Mode{"", spec.Singleton, spec.Spread, spec.Replicas, spec.Ring}, a.Mode) {
			bad("app %s: mode %q: want singleton, spread, replicas or ring", a.Name, a.Mode)
		}
		if a.Replicas != nil && (*a.Replicas < 0 || *a.Replicas > maxReplicas) {
			bad("app %s: replicas %d: want 0 to %d", a.Name, *a.Replicas, maxReplicas)
		}
		if a.MoveCost != nil && (*a.MoveCost < 0 || *a.MoveCost > maxMoveCost) {
			bad("app %s: move_cost %d: want 0 to %d", a.Name, *a.MoveCost, maxMoveCost)
		}
	}
	seen := make(map[string]int, len(s.Instances))
	for i := range s.Instances {
		in := &s.Instances[i]
		switch {
		case in.ID == "":
			bad("instances[%d].id: missing", i)
		case !apps[in.App]:
			bad("instance %s: app %q is not among the apps", in.ID, in.App)
		case in.Node != "" && !nodes[in.Node]:
			bad("instance %s: node %q is not among the nodes", in.ID, in.Node)
		}
		if _, twice := seen[in.ID]; twice {
			bad("instances[%d]: instance %s is listed twice", i, in.ID)
		}
		seen[in.ID] = i
	}
	for i := range s.Standbys {
		switch st := &s.Standbys[i]; {
		case st.ID == "":
			bad("standbys[%d].id: missing", i)
		case !apps[st.App]:
			bad("standby %s: app %q is not among the apps", st.ID, st.App)
		case !nodes[st.Node]:
			bad("standby %s: node %q is not among the nodes", st.ID, st.Node)
		default:
			if _, twice := seen[st.ID]; twice {
				bad("standbys[%d]: %s is listed twice", i, st.ID)
			}
			seen[st.ID] = -1
		}
	}
	moving := map[string]bool{}
	for i, m := range s.InFlight {
		at, known := seen[m.Instance]
		switch {
		case !known || at < 0:
			bad("in_flight[%d]: instance %q is not among the instances", i, m.Instance)
		case moving[m.Instance]:
			bad("in_flight[%d]: instance %s is listed twice", i, m.Instance)
		case m.From != "" && !nodes[m.From] || m.To != "" && !nodes[m.To]:
			bad("in_flight[%d]: %s moves %s → %s: not among the nodes", i, m.Instance, m.From, m.To)
		case s.Instances[at].Node != m.From && s.Instances[at].Node != m.To:
			bad("in_flight[%d]: %s moves %s → %s, and is on %s", i, m.Instance, m.From, m.To, s.Instances[at].Node)
		}
		moving[m.Instance] = true
	}
	if s.Policy != nil {
		if err := s.Policy.Validate(); err != nil {
			bad("policy: %w", err)
		}
	}
	return errors.Join(errs...)
}

const (
	maxReplicas = 100_000
	maxMoveCost = 10_000
	maxWeight   = 1_000_000 * 1000
)

func sorted(m Amounts) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
