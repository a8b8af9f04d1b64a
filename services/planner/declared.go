package planner

import (
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// declarations is how far what programs declare has been followed.
type declarations struct {
	at     uint64
	behind []string // names of what was not as declared
}

// changed lists the names under which something may be to do that was not when it was last called, or was not done.
func (d *declarations) changed(v *projections.Cluster) []string {
	changes, ok := v.Changes(d.at)
	ok = ok && d.at > 0
	d.at = v.Seq
	names := d.behind
	for _, c := range changes {
		ok = ok && c.App != ""
		names = append(names, c.App)
	}
	if !ok {
		return v.DeclaredNames()
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// follow brings specs and policy up to what programs declare. What a person changed stays until something is declared that was never
// declared before.
func (d *declarations) follow(v *projections.Cluster, add func(*events.Draft)) {
	names := d.changed(v)
	d.behind = nil
	for _, name := range names {
		all := v.Declarations(name)
		if len(all) == 0 {
			continue
		}
		if draft := declared(v, all[0]); draft != nil {
			d.behind = append(d.behind, name)
			add(draft)
		}
	}
}

// declared returns what makes an app or the policy as declared, nil where it is so, or cannot be yet.
func declared(v *projections.Cluster, d projections.Declaration) *events.Draft {
	if d.Policy == nil {
		return declaredApp(v, d)
	}
	if hash := events.HashPolicy(*d.Policy); hash != v.PolicyHash && d.First.Seq > v.PolicySet.Seq {
		return declaration(d, events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.PolicyUpdated{Policy: *d.Policy, Hash: hash, Declared: d.Hash}})
	}
	return nil
}

// declaredApp returns what makes the app as declared, nil where it is so, or cannot be yet.
func declaredApp(v *projections.Cluster, d projections.Declaration) *events.Draft {
	a := v.Apps[d.App.Name]
	data := &events.AppApplied{Spec: *d.App, SpecRev: 1, Generation: 1, Declared: d.Hash}
	if a != nil && a.SpecRev > 0 {
		data.SpecRev, data.Generation = a.SpecRev+1, a.Generation
		switch {
		case a.Exists() && a.Spec.Process != nil: // of a declaration that was older than the app: the labeler refuses those that follow
			return nil
		case a.Removed && a.Exists():
			return nil // until its last instance is gone
		case a.Removed:
		case d.First.Seq < a.Changed.Seq || sameJSON(a.Spec, *d.App):
			return nil
		case a.Spec.Mode != d.App.Mode && (len(a.Instances) > 0 || len(a.Open) > 0):
			return nil // no instance changes its mode; it is followed once there is none
		case a.Spec.Replication() != d.App.Replication() && len(a.Open) > 0:
			return nil // a move ends by the steps that it began with
		}
	}
	return declaration(d, events.Draft{Aggregate: events.App(d.App.Name), App: d.App.Name, Data: data})
}

func declaration(d projections.Declaration, draft events.Draft) *events.Draft {
	draft.Cause, draft.Correlation = d.First.ID, d.First.Correlation
	return &draft
}
