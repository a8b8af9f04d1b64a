package model

import (
	"slices"

	"github.com/go-cluster/go-cluster/api"
)

// Relabel gives a node other labels. It returns false when only compiling anew can tell what follows: a spread rule reads one of them.
func (p *Problem) Relabel(node int32, labels map[string]string) bool {
	n := &p.Nodes[node]
	for key := range p.domains {
		if was, is := n.Labels[key], labels[key]; was != is {
			return false
		}
	}
	n.Labels = labels
	p.regroup(node)
	return true
}

// SetState says whether a node is there and takes instances; empty strings are ready and schedulable.
func (p *Problem) SetState(node int32, status, scheduling string) {
	n := &p.Nodes[node]
	n.Status = status
	if status == "" {
		n.Status = api.NodeReady
	}
	n.Drain = scheduling == api.Draining
	n.Open = n.Status == api.NodeReady && (scheduling == "" || scheduling == api.Schedulable)
	n.Leave = n.Status == api.NodeIsLost || n.Status == api.NodeHasLeft || n.Drain && n.Status == api.NodeReady
}

// Join adds a node after all others and returns its number, or false when only compiling anew can tell what follows.
func (p *Problem) Join(id string, labels map[string]string) (int32, bool) {
	if _, known := p.nodeOf[id]; known || len(p.domains) > 0 || p.named[id] {
		return None, false
	}
	n := Node{ID: id, Labels: labels, Weight: 1000, Status: api.NodeReady, Open: true}
	for range p.Dims {
		n.Cap = append(n.Cap, Unlimited)
	}
	at := int32(len(p.Nodes))
	p.Nodes = append(p.Nodes, n)
	p.nodeOf[id] = at
	p.regroup(at)
	return at, true
}

// regroup finds the group of a node anew, and makes it one of its own if no other is like it.
func (p *Problem) regroup(node int32) {
	n := &p.Nodes[node]
	g, ok := p.groups[string(p.signature(n))]
	if !ok {
		g = int32(p.Groups)
		p.groups[string(p.scratch)] = g
		p.reps = append(p.reps, node)
		p.Groups++
		for _, set := range p.sets {
			first := &p.Apps[set.apps[0]]
			allowed, pref := first.Allowed, first.Pref
			if int(g>>6) >= len(allowed) {
				allowed = append(slices.Clone(allowed), 0)
			}
			if p.allows(first, set.require, n) {
				allowed[g>>6] |= 1 << (g & 63)
			}
			if pref != nil {
				pref = append(pref, points(first.Spec.Prefer, n))
			}
			for _, a := range set.apps {
				p.Apps[a].Allowed, p.Apps[a].Pref = allowed, pref
			}
		}
	}
	n.Group = g
}
