package projections

import "slices"

// Occupants are the instances and the standbys that are on a node, or on their way there, each ordered by id.
type Occupants struct{ Instances, Standbys []*Instance }

// All returns the instances and then the standbys.
func (o Occupants) All() []*Instance { return slices.Concat(o.Instances, o.Standbys) }

// On returns every instance that is on a node, or on its way there, ordered by id. It looks at every app: who asks about many nodes takes
// ByNode.
func (c *Cluster) On(node string) []*Instance {
	var out []*Instance
	for _, a := range c.Apps {
		for _, in := range a.Instances {
			if in.Node == node {
				out = append(out, in)
			}
		}
	}
	sortInstances(out)
	return out
}

// StandbysOn returns every standby on a node, ordered by id.
func (c *Cluster) StandbysOn(node string) []*Instance {
	var out []*Instance
	for _, a := range c.Apps {
		if s := a.StandbyAt(node); s != nil {
			out = append(out, s)
		}
	}
	sortInstances(out)
	return out
}

// ByNode returns who is on each node, in one look at the apps.
func (c *Cluster) ByNode() map[string]Occupants {
	out := map[string]Occupants{}
	for _, a := range c.Apps {
		for _, in := range a.Instances {
			o := out[in.Node]
			o.Instances = append(o.Instances, in)
			out[in.Node] = o
		}
		for _, s := range a.Standbys {
			o := out[s.Node]
			o.Standbys = append(o.Standbys, s)
			out[s.Node] = o
		}
	}
	for _, o := range out {
		sortInstances(o.Instances)
		sortInstances(o.Standbys)
	}
	return out
}

func sortInstances(ins []*Instance) {
	slices.SortFunc(ins, func(x, y *Instance) int { return CompareInstances(x.ID, y.ID) })
}
