package labeler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// known returns a node that has joined, or a refusal that names those there are.
func known(v *projections.Cluster, verb, id string) (*projections.Node, *api.Error) {
	if err := spec.ValidateName("node", id); err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "node", Detail: fmt.Sprintf("%s: %v", verb, err)}
	}
	if n := v.Nodes[id]; n != nil && n.Known() {
		return n, nil
	}
	var have []string
	for _, n := range v.SortedNodes() {
		if n.Known() && n.Status != projections.StatusLeft {
			have = append(have, n.ID)
		}
	}
	switch {
	case len(have) == 0:
		return nil, api.Refuse(api.CodeNotFound, "%s %s: no such node: none has joined", verb, id)
	case len(have) > 10:
		return nil, api.Refuse(api.CodeNotFound, "%s %s: no such node (there are %d)", verb, id, len(have))
	}
	return nil, api.Refuse(api.CodeNotFound, "%s %s: no such node (there are %s)", verb, id, strings.Join(have, ", "))
}

// present is known, for what makes no sense on a node that was removed.
func present(v *projections.Cluster, verb, id string) (*projections.Node, *api.Error) {
	n, err := known(v, verb, id)
	if err == nil && n.Status == projections.StatusLeft {
		return nil, api.Refuse(api.CodeNotFound, "%s %s: the node was removed from the cluster", verb, id)
	}
	return n, err
}

// labelChange reads what a label command asks for. It can never succeed when it errs.
func labelChange(r api.LabelRequest) (spec.LabelChange, *api.Error) {
	bad := func(field, format string, args ...any) (spec.LabelChange, *api.Error) {
		return spec.LabelChange{}, &api.Error{Code: api.CodeInvalid, Field: field, Detail: fmt.Sprintf("label "+r.Node+": "+format, args...)}
	}
	if len(r.Set) == 0 && len(r.Remove) == 0 {
		return bad("set", "nothing to set or remove")
	}
	check := func(key, value string) error {
		if err := spec.ValidateLabelKey(key); err != nil {
			return err
		}
		if spec.ReservedLabel(key) {
			return fmt.Errorf("label %s: the prefix %s is reserved for the cluster", key, spec.ReservedLabelPrefix)
		}
		return spec.ValidateLabelValue(key, value)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Set)) {
		if err := check(k, r.Set[k]); err != nil {
			return bad("set", "%v", err)
		}
	}
	for i, k := range r.Remove {
		if err := check(k, ""); err != nil {
			return bad("remove", "%v", err)
		}
		if _, both := r.Set[k]; both {
			return bad("remove", "label %s is both set and removed", k)
		}
		if slices.Contains(r.Remove[:i], k) {
			return bad("remove", "label %s is removed twice", k)
		}
	}
	return spec.LabelChange{Set: r.Set, Remove: r.Remove}, nil
}

// relabel decides a label command, whatever it does to placements: that is for the asker to look at beforehand. Without an event
// the labels are as wanted already.
func relabel(v *projections.Cluster, r api.LabelRequest, change spec.LabelChange) (*events.Draft, *events.NodeLabelsUpdated, *api.Error) {
	n, refused := present(v, "label", r.Node)
	if refused != nil {
		return nil, nil, refused
	}
	if rev := v.Head(events.Node(n.ID)).Rev; r.IfRevision > 0 && rev != r.IfRevision {
		return nil, nil, api.Refuse(api.CodeConflict, "label %s: the node is at revision %d, not at %d: look again and repeat", n.ID, rev, r.IfRevision)
	}
	u := &events.NodeLabelsUpdated{Node: n.ID, Before: maps.Clone(n.Labels), After: change.Apply(n.Labels)}
	if u.Before == nil {
		u.Before = map[string]string{}
	}
	if maps.Equal(u.Before, u.After) && !planted.LabelsTwice {
		return nil, u, nil
	}
	if err := spec.ValidateLabels(u.After); err != nil {
		return nil, nil, &api.Error{Code: api.CodeInvalid, Field: "set", Detail: fmt.Sprintf("label %s: %v", n.ID, err)}
	}
	return &events.Draft{Aggregate: events.Node(n.ID), Node: n.ID, Data: u}, u, nil
}

func cordon(v *projections.Cluster, id string) (*events.Draft, error) {
	n, refused := present(v, "cordon", id)
	if refused != nil {
		return nil, refused
	}
	if n.Cordoned {
		return nil, nil
	}
	return &events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeCordoned{Node: id}}, nil
}

func uncordon(v *projections.Cluster, id string) (*events.Draft, error) {
	n, refused := present(v, "uncordon", id)
	switch {
	case refused != nil:
		return nil, refused
	case n.Draining():
		return nil, api.Refuse(api.CodeRefused, "uncordon %s: it is being drained (order %s): cancel the drain first (go-cluster node drain %s --cancel)", id, n.Drain.Order, id)
	case !n.Cordoned:
		return nil, nil
	}
	return &events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeUncordoned{Node: id}}, nil
}

// leave decides the removal of a node. Its incarnation must be over in the log: an epoch that it holds can only be granted anew
// after that.
func leave(v *projections.Cluster, id string) (*events.Draft, error) {
	n, refused := known(v, "remove", id)
	if refused != nil {
		return nil, refused
	}
	switch n.Status {
	case projections.StatusLeft:
		return nil, nil
	case projections.StatusReady:
		return nil, api.Refuse(api.CodeRefused, "remove %s: it is ready: drain it, stop its agent, and wait until it is lost", id)
	case projections.StatusSuspected:
		return nil, api.Refuse(api.CodeRefused, "remove %s: it is silent and its lease is being waited out (%s at most): ask again when it is lost", id, takeoverWait(ttlOf(n).D()))
	}
	if left := v.On(id); len(left) > 0 {
		return nil, api.Refuse(api.CodeRefused, "remove %s: %s may still run there (on_isolation: continue): make sure the machine is off and say so (go-cluster node lost %s --confirm)",
			id, left[0].ID, id)
	}
	return &events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeLeft{Node: id, Inc: n.Inc}}, nil
}

// confirm decides an operator's word that a machine is off. alive says why it cannot be, if anything does. Without an event there
// is nothing that the word would end. Where another machine is the node by now, the word is about the one before, as long as
// something may still run on that.
func confirm(v *projections.Cluster, id, alive string, leaseSeq uint64) (*events.Draft, error) {
	n, refused := present(v, "lost", id)
	if refused != nil {
		return nil, refused
	}
	for _, in := range v.On(id) {
		if in.Inc != n.Inc {
			return &events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeLost{
				Node: id, Inc: in.Inc, Reason: events.LostConfirmed, Confirmed: true, LeaseSeq: leaseSeq,
			}}, nil
		}
	}
	switch {
	case alive != "":
		return nil, api.Refuse(api.CodeRefused, "lost %s: %s", id, alive)
	case n.Status == projections.StatusLost && !slices.ContainsFunc(v.On(id), func(in *projections.Instance) bool { return in.Inc == n.Inc }):
		return nil, nil
	}
	return &events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeLost{
		Node: id, Inc: n.Inc, Reason: events.LostConfirmed, Confirmed: true, LeaseSeq: leaseSeq,
	}}, nil
}
