package planner

import (
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// followDeclarations brings specs and policy up to what programs declare. What a person changed stays until something is declared
// that was never declared before.
func followDeclarations(v *projections.Cluster, add func(*events.Draft)) {
	for _, name := range v.DeclaredNames() {
		d := v.Declarations(name)[0]
		if d.Policy != nil {
			if hash := events.HashPolicy(*d.Policy); hash != v.PolicyHash && d.First.Seq > v.PolicySet.Seq {
				add(declaration(d, events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.PolicyUpdated{Policy: *d.Policy, Hash: hash, Declared: d.Hash}}))
			}
			continue
		}
		add(declaredApp(v, d))
	}
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
		}
	}
	return declaration(d, events.Draft{Aggregate: events.App(d.App.Name), App: d.App.Name, Data: data})
}

func declaration(d projections.Declaration, draft events.Draft) *events.Draft {
	draft.Cause, draft.Correlation = d.First.ID, d.First.Correlation
	return &draft
}
