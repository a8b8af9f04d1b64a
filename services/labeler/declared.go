package labeler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// hostLabel says which machine a node is on, for rules that hold per machine.
const hostLabel = spec.ReservedLabelPrefix + "host"

// checkDeclaration finds what can never be declared.
func checkDeclaration(r api.DeclareRequest) *api.Error {
	bad := func(field string, err error) *api.Error {
		return &api.Error{Code: api.CodeInvalid, Field: field, Detail: fmt.Sprintf("declare %s: %s: %v", r.Node, field, err)}
	}
	if err := spec.ValidateName("node", r.Node); err != nil {
		return &api.Error{Code: api.CodeInvalid, Field: "node", Detail: fmt.Sprintf("declare: %v", err)}
	}
	for field, value := range map[string]string{"inc": r.Inc, "machine": r.Machine} {
		if strings.TrimSpace(value) == "" {
			return bad(field, fmt.Errorf("it is missing"))
		}
	}
	if r.TTL <= 0 {
		return bad("ttl", fmt.Errorf("%s: want more than 0", r.TTL))
	}
	if err := spec.ValidateLabels(r.Labels); err != nil {
		return bad("labels", err)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		if spec.ReservedLabel(k) {
			return bad("labels", fmt.Errorf("label %s: the prefix %s is reserved for the cluster", k, spec.ReservedLabelPrefix))
		}
	}
	for i, app := range r.Facts.Apps {
		if err := app.ValidateDeclared(); err != nil {
			return bad("apps", fmt.Errorf("app %s: %w", app.Name, err))
		}
		if faults := app.Unsupported(); len(faults) > 0 {
			return &api.Error{Code: api.CodeUnsupported, Field: "apps", Detail: fmt.Sprintf("declare %s: app %s: %s: %s", r.Node, app.Name, faults[0].Field, faults[0].Detail)}
		}
		if slices.ContainsFunc(r.Facts.Apps[:i], func(o spec.App) bool { return o.Name == app.Name }) {
			return bad("apps", fmt.Errorf("app %s is declared twice", app.Name))
		}
	}
	if r.Facts.Policy != nil {
		if err := r.Facts.Policy.Validate(); err != nil {
			return bad("policy", err)
		}
	}
	for _, app := range slices.Sorted(maps.Keys(r.Epochs)) {
		if err := spec.ValidateName("app", app); err != nil {
			return bad("epochs", err)
		}
	}
	return nil
}

// believed says why a declaration is not: only the holder of the node's lease speaks for it.
func believed(r api.DeclareRequest, l transport.LeaseRecord, found bool) *api.Error {
	switch {
	case !found:
		return api.Refuse(api.CodeConflict, "declare %s: nobody holds its lease: take it first", r.Node)
	case l.Lease.State != api.LeaseHeld:
		return api.Refuse(api.CodeConflict, "declare %s: its lease is %s, not held by %s", r.Node, l.Lease.State, r.Inc)
	case l.Lease.Inc != r.Inc || l.Lease.Machine != r.Machine:
		return api.Refuse(api.CodeConflict, "declare %s: its lease is held by %s on machine %s (%s), not by %s", r.Node, l.Lease.Inc, l.Lease.Machine, l.Lease.Host, r.Inc)
	}
	return nil
}

// declared returns the next event that a believed declaration still needs, or nil when the log says all of it.
func declared(v *projections.Cluster, r api.DeclareRequest, l transport.LeaseRecord) (*events.Draft, *api.Error) {
	n := v.Nodes[r.Node]
	if n == nil {
		n = &projections.Node{ID: r.Node}
	}
	labels := declaredLabels(n, r, l.Lease.Host)
	if err := spec.ValidateLabels(labels.After); err != nil { // before anything else: half a declaration helps nobody
		return nil, &api.Error{Code: api.CodeInvalid, Field: "labels", Detail: fmt.Sprintf("declare %s: with the labels it has: %v", r.Node, err)}
	}
	for _, app := range r.Facts.Apps {
		if a := v.Apps[app.Name]; a != nil && a.Exists() && a.Spec.Process != nil {
			return nil, api.Refuse(api.CodeDeclared, "declare %s: app %s: a process app of that name is applied: remove it (go-cluster app remove %s), or register the app under another name",
				r.Node, app.Name, app.Name)
		}
	}
	draft := func(data any) (*events.Draft, *api.Error) {
		return &events.Draft{Aggregate: events.Node(r.Node), Node: r.Node, Data: data}, nil
	}
	switch {
	case n.Inc == r.Inc && n.Status != projections.StatusReady:
		return nil, api.Refuse(api.CodeConflict, "declare %s: incarnation %s is %s: it cannot speak any more", r.Node, r.Inc, n.Status)
	case n.Inc != r.Inc && live(n) && n.Machine == r.Machine:
		return rebooted(n, l.Seq), nil
	case n.Inc != r.Inc && live(n):
		return nil, api.Refuse(api.CodeConflict, "declare %s: incarnation %s of another machine, %s, is not over", r.Node, n.Inc, n.Machine)
	case n.Inc != r.Inc:
		return draft(&events.NodeJoined{Node: r.Node, Inc: r.Inc, Machine: r.Machine, TTL: r.TTL, Epochs: r.Epochs, Facts: r.Facts})
	case !sameFacts(n.Facts, r.Facts):
		return draft(&events.NodeFactsUpdated{Node: r.Node, Facts: r.Facts})
	case !maps.Equal(n.Declared, labels.Declared):
		return draft(labels)
	}
	return nil, nil
}

// declaredLabels merges what an agent declares into the node's labels. A set that differs from the last one wins over operators
// for the keys of both; a repetition changes nothing. The cluster's own label is part of the declared set.
func declaredLabels(n *projections.Node, r api.DeclareRequest, hostname string) *events.NodeLabelsUpdated {
	u := &events.NodeLabelsUpdated{Node: r.Node, Before: maps.Clone(n.Labels), After: maps.Clone(n.Labels), Declared: maps.Clone(r.Labels)}
	for _, m := range []*map[string]string{&u.Before, &u.After, &u.Declared} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	u.Declared[hostLabel] = hostOf(r, hostname)
	if maps.Equal(n.Declared, u.Declared) {
		return u
	}
	for k := range n.Declared {
		delete(u.After, k)
	}
	maps.Copy(u.After, u.Declared)
	return u
}

// hostOf makes the value of the host label: the first of address, hostname and node id that there is, made to fit.
func hostOf(r api.DeclareRequest, hostname string) string {
	for _, s := range []string{r.Facts.Address, hostname, r.Node} {
		fit := strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' {
				return c
			}
			return '-' // the colons of an IPv6 address
		}, s)
		if fit = strings.Trim(fit[:min(len(fit), 63)], "-._"); fit != "" {
			return fit
		}
	}
	return r.Node
}

func sameFacts(a, b events.Facts) bool {
	x, errX := json.Marshal(a, json.Deterministic(true))
	y, errY := json.Marshal(b, json.Deterministic(true))
	return errX == nil && errY == nil && string(x) == string(y)
}
