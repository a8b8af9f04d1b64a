package projections

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// SortedNodes returns the nodes ordered by id.
func (c *Cluster) SortedNodes() []*Node { return sorted(c.Nodes) }

// SortedApps returns the apps that are declared or still have instances, ordered by name.
func (c *Cluster) SortedApps() []*App {
	return slices.DeleteFunc(sorted(c.Apps), func(a *App) bool { return !a.Exists() })
}

// Exists says whether there is anything of the app: a removed app exists until its last instance is gone.
func (a *App) Exists() bool {
	return a.SpecRev > 0 && (!a.Removed || len(a.Instances) > 0 || len(a.Standbys) > 0 || len(a.Open) > 0)
}

// SortedInstances returns the app's instances ordered by slot.
func (a *App) SortedInstances() []*Instance {
	if len(a.Instances) < 2 {
		return sorted(a.Instances)
	}
	type slotted struct {
		slot int
		in   *Instance
	}
	all := make([]slotted, 0, len(a.Instances))
	alike := true // they are told apart by their slots alone
	for _, in := range a.Instances {
		app, slot := splitInstance(in.ID)
		alike = alike && app == a.Name
		all = append(all, slotted{slot, in})
	}
	slices.SortFunc(all, func(x, y slotted) int {
		if alike && x.slot != y.slot {
			return cmp.Compare(x.slot, y.slot)
		}
		return CompareInstances(x.in.ID, y.in.ID)
	})
	ins := make([]*Instance, len(all))
	for i := range all {
		ins[i] = all[i].in
	}
	return ins
}

// SortedOpen returns the app's open migrations ordered by id.
func (a *App) SortedOpen() []*Migration { return sorted(a.Open) }

// CompareInstances orders instance ids by app and then by slot number.
func CompareInstances(x, y string) int {
	xa, xs := splitInstance(x)
	ya, ys := splitInstance(y)
	if c := strings.Compare(xa, ya); c != 0 {
		return c
	}
	if xs != ys {
		return xs - ys
	}
	return strings.Compare(x, y)
}

func splitInstance(id string) (app string, slot int) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return id, 0
	}
	slot, err := strconv.Atoi(id[i+1:])
	if err != nil {
		return id, 0
	}
	return id[:i], slot
}

// SortedMigrations returns every remembered migration in the order of admission.
func (c *Cluster) SortedMigrations() []*Migration {
	ms := slices.Collect(maps.Values(c.Migrations))
	slices.SortFunc(ms, func(x, y *Migration) int {
		if x.Admitted.Seq != y.Admitted.Seq {
			return int(x.Admitted.Seq) - int(y.Admitted.Seq)
		}
		return strings.Compare(x.Migration, y.Migration)
	})
	return ms
}

// Head returns the end of an aggregate.
func (c *Cluster) Head(a events.Aggregate) events.Head { return c.Heads[a] }

// Desired is how many instances the app wants.
func (a *App) Desired() int {
	switch {
	case a.Removed || a.SpecRev == 0:
		return 0
	case a.Spec.Mode == spec.Singleton:
		return 1
	case a.Spec.Mode == spec.Replicas && a.Spec.Replicas != nil:
		return *a.Spec.Replicas
	}
	return 0
}

// SameRules says whether two specs allow and prefer the same nodes.
func SameRules(x, y spec.App) bool {
	return reflect.DeepEqual(rules(x), rules(y))
}

func rules(s spec.App) spec.App {
	return spec.App{Mode: s.Mode, Require: s.Require, Prefer: s.Prefer, OnNodes: s.OnNodes, WithApp: s.WithApp, AwayFromApp: s.AwayFromApp,
		SpreadOver: s.SpreadOver, Resources: s.Resources}
}

func sorted[V any](m map[string]V) []V {
	switch len(m) { // what nearly all apps have of instances and of open migrations, asked for thousands of times in a pass
	case 0:
		return nil
	case 1:
		for _, v := range m {
			return []V{v}
		}
	}
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}
