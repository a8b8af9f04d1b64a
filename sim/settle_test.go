package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

const (
	settleWithin = 25 * time.Minute // the longest back-off is 10 minutes
	settledFor   = 40 * time.Second // longer than anything that is looked at now and then
)

// settle waits until the cluster has come to rest, and fails when it does not.
func (r *runner) settle(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(settleWithin)
	var since time.Time
	var at uint64
	for why := ""; ; r.c.For(time.Second) {
		var seq uint64
		r.c.View(func(v *projections.Cluster) { why, seq = r.restless(v), v.Seq })
		switch {
		case why != "" || seq != at:
			since, at = time.Now(), seq
		case time.Since(since) >= settledFor:
			r.tell("settled")
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("not settled within %s: %s", settleWithin, why)
			return
		}
	}
}

// restless says what is not yet as it should be once nothing changes any more.
func (r *runner) restless(v *projections.Cluster) string {
	var why []string
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	for source := range v.Frozen {
		say("frozen by %s", source)
	}
	for _, n := range v.SortedNodes() {
		if n.Status != projections.StatusReady {
			say("%s is %s", n.ID, n.Status)
		}
	}
	plan := placement.Make(v, nil, time.Now())
	for _, m := range plan.Moves {
		say("a move is due: %s %s → %s (%s)", m.Instance, m.From, m.To, m.Reason)
	}
	if !plan.Wake.IsZero() {
		say("the plan changes at %s", plan.Wake.Sub(r.c.start))
	}
	pending := map[string]placement.Pending{}
	for _, p := range plan.Pending {
		pending[p.App] = p
	}
	want := []string{}
	for _, a := range v.SortedApps() {
		if len(a.Open) > 0 {
			say("%s has open migrations", a.Name)
		}
		p, waits := pending[a.Name]
		if waits != (a.Pending != nil) {
			say("%s: pending in the plan %t (%s), in the log %t", a.Name, waits, p.Reason, a.Pending != nil)
		}
		if missing := a.Desired() - len(a.Instances); a.Spec.Mode != spec.Spread && missing != 0 && !(waits && missing <= p.Missing) {
			say("%s: %d instances of %d", a.Name, len(a.Instances), a.Desired())
		}
		for _, in := range a.SortedInstances() {
			if in.State != api.InstanceRunning || !in.Healthy || in.Generation != a.Generation && !waits && a.Proposals[in.ID] == nil { // its app's budget may hold a restart for good
				say("%s on %s is %s, generation %d of %d", in.ID, in.Node, in.State, in.Generation, a.Generation)
			}
			epoch := uint64(0)
			if in.Role == api.RoleActive {
				if l := a.Leader; l == nil || l.Ended || l.Node != in.Node || !l.Activated {
					say("%s is active on %s, the leader is %+v", in.ID, in.Node, l)
				} else {
					epoch = l.Epoch
				}
			}
			want = append(want, fmt.Sprintf("%s on %s as %s epoch %d generation %d", in.ID, in.Node, in.Role, epoch, in.Generation))
		}
	}
	for order, reb := range v.Rebalances {
		if !reb.Completed {
			say("rebalance %s is open", order)
		}
	}
	for _, n := range v.SortedNodes() {
		if n.Draining() && len(v.On(n.ID)) == 0 {
			say("the drain of %s is open, and nothing is there", n.ID)
		}
	}
	have := r.c.Programs.running()
	slices.Sort(want)
	if !slices.Equal(want, have) {
		say("the log wants\n    %s\n  and what runs is\n    %s", strings.Join(want, "\n    "), strings.Join(have, "\n    "))
	}
	return strings.Join(why, "\n  ")
}
