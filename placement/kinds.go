package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// kind is apps that ask for the same and neither stand in the way of others nor they in theirs: what a class of nodes says of one it says of all,
// but for how much is free there.
type kind struct {
	demands  demands           // of nobody, without what names nodes
	onNodes  *events.Rejection // of a node that the rules do not name, where they name some
	named    []string          // nodes that rules or preferences name: each is judged by itself
	verdicts []*verdict        // by class
	used     int               // survey that last asked
}

// verdict is what a class of nodes says of a kind.
type verdict struct {
	refused []events.Rejection // of no node in particular
	points  int64              // of preference
}

// kind returns that of an app, nil for one that has to be judged node by node.
func (p *planner) kind(a *projections.App) *kind {
	s, x := &a.Spec, p.index
	if x == nil || s.Mode == spec.Spread || s.Replicated() || s.VIP != nil || a.WantedStandbys()+len(a.Standbys) > 0 ||
		len(s.AwayFromApp)+len(s.WithApp)+len(s.SpreadOver)+len(p.tied[a.Name])+len(p.follow[a.Name]) > 0 || len(p.demands(a).ports) > 0 {
		return nil
	}
	x.surveys++
	key := p.apps[a.Name].kindKey()
	k := x.kinds[key]
	if k == nil {
		for len(x.kinds) > 0 && (len(x.kinds)+1)*len(x.classes) > mostVerdicts {
			x.forget()
		}
		k = newKind(a, x)
		x.kinds[key] = k
	}
	k.used = x.surveys
	return k
}

// kindKey is what apps of a kind have in common.
func (c *counted) kindKey() string {
	if c.kind == "" {
		s := &c.as.Spec
		c.kind = fmt.Sprintf("%q %v %q %v", s.Require, s.Prefer, s.OnNodes, s.Resources)
		if s.Process == nil {
			c.kind += " " + c.as.Name // whose code a node has or has not
		}
	}
	return c.kind
}

func newKind(a *projections.App, x *index) *kind {
	nobody := &projections.App{Name: a.Name, Spec: a.Spec}
	k := &kind{named: slices.Clone(a.Spec.OnNodes)}
	if only := a.Spec.OnNodes; len(only) > 0 {
		k.onNodes = &events.Rejection{Code: events.RuleOnNodes, Detail: notAllowed(only)}
		nobody.Spec.OnNodes = nil
	}
	nobody.Spec.Prefer = nil
	var reads []string
	for _, pr := range a.Spec.Prefer {
		if pr.Node != "" {
			k.named = append(k.named, pr.Node)
			continue
		}
		nobody.Spec.Prefer = append(nobody.Spec.Prefer, pr)
		label, _, _ := strings.Cut(pr.Label, "=")
		reads = append(reads, label)
	}
	k.demands = demandsOf(nobody)
	for _, s := range k.demands.selectors {
		for _, t := range s.sel.Terms() {
			reads = append(reads, t.Key)
		}
	}
	if a.Spec.Process == nil {
		reads = append(reads, programs)
	}
	x.learn(reads)
	return k
}

// forget drops the kind that nobody has asked for the longest.
func (x *index) forget() {
	oldest := ""
	for key, k := range x.kinds {
		if oldest == "" || k.used < x.kinds[oldest].used {
			oldest = key
		}
	}
	delete(x.kinds, oldest)
}

// says is what a class that has nodes says of a kind.
func (x *index) says(c *class, k *kind) *verdict {
	for c.number >= len(k.verdicts) {
		k.verdicts = append(k.verdicts, nil)
	}
	if w := k.verdicts[c.number]; w != nil {
		return w
	}
	n := x.nodes[c.nodes[0]]
	w := &verdict{refused: k.demands.unfit(x.v, n), points: preferred(k.demands.app, n)}
	if k.onNodes != nil {
		w.refused = append(w.refused, *k.onNodes)
	}
	for i := range w.refused {
		w.refused[i].Node = ""
	}
	k.verdicts[c.number] = w
	return w
}

// stayers returns what says, by their place in its row, which instances of an app surely stay where they are, as their nodes are of classes that take
// such apps.
func (p *planner) stayers(a *projections.App) func(int) bool {
	k, x := p.kind(a), p.index
	if k == nil || a.ContinuesInIsolation() {
		return func(int) bool { return false }
	}
	x.settle()
	row := p.row(a)
	return func(i int) bool {
		n := row.on[i].seat
		if n == nowhere || row.failed && row.in[i].State == "failed" {
			return false
		}
		c := x.seats[n].class
		return c != nil && len(x.says(c, k).refused) == 0
	}
}

// mayNotStay says whether a node that is ready does not keep an instance of an app: by an order, or by the app's rules.
func (p *planner) mayNotStay(a *projections.App) bool {
	stays := p.stayers(a)
	for i, in := range p.row(a).in {
		if stays(i) {
			continue
		}
		n := p.v.Nodes[in.Node]
		if n != nil && n.Status == projections.StatusReady && (len(orders(p.v, n)) > 0 || len(p.demands(a).rules(n)) > 0) {
			return true
		}
	}
	return false
}
