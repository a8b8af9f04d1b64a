package placement

import (
	"slices"
	"strconv"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// usage is what stands on the nodes, or is on its way to or from them: a move in flight counts at both ends, so that every
// order in which moves end is possible.
type usage struct {
	apps  map[string]map[string]int    // node → app → instances
	count map[string]int               // node → instances
	cpu   map[string]spec.CPU          // node → taken
	mem   map[string]spec.Bytes        // node → taken
	ports map[string]map[string]string // host address → port → app
	addr  map[string]string            // node → host address
}

// newUsage counts everything but what one migration itself takes (skip may be "").
func newUsage(v *projections.Cluster, skip string) *usage {
	u := &usage{apps: map[string]map[string]int{}, count: map[string]int{}, cpu: map[string]spec.CPU{}, mem: map[string]spec.Bytes{},
		ports: map[string]map[string]string{}, addr: map[string]string{}}
	for id, n := range v.Nodes {
		u.addr[id] = n.Facts.Address
	}
	for _, a := range v.Apps {
		moving := map[string]*projections.Migration{}
		for _, m := range a.Open {
			moving[m.Instance] = m
		}
		for id, in := range a.Instances {
			if m := moving[id]; m != nil && m.Migration == skip {
				continue
			}
			u.add(a, in.Node)
		}
		for _, m := range a.Open {
			if m.Migration == skip {
				continue
			}
			in := a.Instances[m.Instance]
			for _, end := range []string{m.From, m.To} {
				if end != "" && (in == nil || in.Node != end) && (end != m.From || m.From != m.To) {
					u.add(a, end)
				}
			}
		}
	}
	return u
}

func (u *usage) add(a *projections.App, node string) {
	if u.apps[node] == nil {
		u.apps[node] = map[string]int{}
	}
	u.apps[node][a.Name]++
	u.count[node]++
	u.cpu[node] += a.Spec.Resources.CPU
	u.mem[node] += a.Spec.Resources.Memory
	for _, p := range a.Spec.Ports {
		if p != 0 {
			host := u.addr[node]
			if u.ports[host] == nil {
				u.ports[host] = map[string]string{}
			}
			u.ports[host][strconv.Itoa(p)] = a.Name
		}
	}
}

// taken returns the app that holds a fixed port of a on the node's host, or "".
func (u *usage) taken(a *projections.App, node string) (port, by string) {
	fixed := []int{}
	for _, p := range a.Spec.Ports {
		if p != 0 {
			fixed = append(fixed, p)
		}
	}
	slices.Sort(fixed)
	for _, p := range fixed {
		if by := u.ports[u.addr[node]][strconv.Itoa(p)]; by != "" {
			return strconv.Itoa(p), by
		}
	}
	return "", ""
}

// admit counts a decided move, so that the next decision sees it.
func (u *usage) admit(a *projections.App, m events.Move) {
	if m.To != "" && m.To != m.From {
		u.add(a, m.To)
	}
}
