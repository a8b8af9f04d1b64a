package placement

import "github.com/go-cluster/go-cluster/projections"

// row is an app's instances in order, and what each pass asks of all of them.
type row struct {
	in      []*projections.Instance
	on      []*spot // of a ledger: where each is
	failed  bool    // one of them has
	older   bool    // one is of another generation than the app
	serving int
}

// row returns that of an app. A ledger has it at hand.
func (p *planner) row(a *projections.App) *row {
	if c := p.apps[a.Name]; c != nil {
		return &c.row
	}
	r := p.rows[a.Name]
	if r == nil {
		r = &row{}
		r.take(a)
		p.rows[a.Name] = r
	}
	return r
}

// take takes over an app as it is. Mostly few of its instances have come or gone, and the others are in order already.
func (r *row) take(a *projections.App) {
	kept := 0
	for i, in := range r.in {
		if a.Instances[in.ID] == in {
			r.in[kept] = in
			if kept++; r.on != nil {
				r.on[kept-1] = r.on[i]
			}
		}
	}
	clear(r.in[kept:])
	if r.in = r.in[:kept]; kept != len(a.Instances) {
		r.in, r.on = a.SortedInstances(), nil
	}
	r.failed, r.older, r.serving = false, false, 0
	for _, in := range r.in {
		r.failed = r.failed || in.State == "failed"
		r.older = r.older || in.Generation != a.Generation
		r.serving += bit(serves(in))
	}
}

// find looks up where the instances are, of those that are elsewhere than when it did the last time.
func (r *row) find(u *usage) {
	if r.on == nil {
		r.on = make([]*spot, len(r.in))
	}
	r.on = r.on[:len(r.in)]
	for i, in := range r.in {
		if on := r.on[i]; on == nil || on.node != in.Node {
			r.on[i] = u.named(in.Node)
		}
	}
}
