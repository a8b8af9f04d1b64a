package placement

import (
	"fmt"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// takers lists the values of a label that an app can be spread over: those of nodes that take new instances and that its rules allow.
// A value that no such node has need not be filled.
func (d *demands) takers(v *projections.Cluster, rule int) map[string]bool {
	if d.takes == nil {
		d.takes = make([]map[string]bool, len(d.app.Spec.SpreadOver))
	}
	if t := d.takes[rule]; t != nil {
		return t
	}
	t := map[string]bool{}
	label := d.app.Spec.SpreadOver[rule].Label
	for _, n := range v.Nodes {
		if value, has := n.Labels[label]; has && n.Status == projections.StatusReady && !n.Cordoned && len(orders(v, n)) == 0 && len(d.rules(n)) == 0 {
			t[value] = true
		}
	}
	d.takes[rule] = t
	return t
}

// lies counts an app's instances by the values of a label, where they will be, and the least of all values that count.
func (d *demands) lies(v *projections.Cluster, u *usage, rule int, from, to string) (count map[string]int, least int, leastOf string) {
	label := d.app.Spec.SpreadOver[rule].Label
	count = map[string]int{}
	for value := range d.takers(v, rule) {
		count[value] = 0
	}
	add := func(node string, by int) {
		if n := v.Nodes[node]; n != nil && by != 0 && len(orders(v, n)) == 0 { // what leaves does not lie there
			if value, has := n.Labels[label]; has {
				count[value] += by
			}
		}
	}
	for node, k := range u.heading(d.app) {
		add(node, k)
	}
	add(from, -bit(from != ""))
	if to != "" {
		if value, has := v.Nodes[to].Labels[label]; has {
			count[value]++
		}
	}
	least = -1
	for _, value := range sortedKeys(count) {
		if c := count[value]; least < 0 || c < least {
			least, leastOf = c, value
		}
	}
	return count, max(least, 0), leastOf
}

// uneven lists the labels over which the app would lie too unevenly with one instance more on the node, and one less on from ("": a
// further one).
func (d *demands) uneven(v *projections.Cluster, u *usage, n *projections.Node, from string) (out []events.Rejection) {
	for i, so := range d.app.Spec.SpreadOver {
		value, has := n.Labels[so.Label]
		if !has || d.app.Spec.Mode == spec.Spread { // rules says so; one on every node leaves nothing to choose
			continue
		}
		count, least, leastOf := d.lies(v, u, i, from, n.ID)
		if count[value]-least > so.MaxSkew {
			out = append(out, events.Rejection{Node: n.ID, Code: events.RuleSpread,
				Detail: fmt.Sprintf("%s=%s would have %d instances, %s=%s has %d, at most %d apart", so.Label, value, count[value], so.Label, leastOf, least, so.MaxSkew)})
		}
	}
	return out
}

// crowds says by which labels an instance on the node makes the app lie too unevenly: it is one of too many there.
func (d *demands) crowds(v *projections.Cluster, u *usage, n *projections.Node) (why string) {
	for i, so := range d.app.Spec.SpreadOver {
		value, has := n.Labels[so.Label]
		if !has {
			continue
		}
		if count, least, leastOf := d.lies(v, u, i, "", ""); count[value]-least > so.MaxSkew {
			return fmt.Sprintf("%s=%s has %d instances, %s=%s %d, at most %d apart", so.Label, value, count[value], so.Label, leastOf, least, so.MaxSkew)
		}
	}
	return ""
}
