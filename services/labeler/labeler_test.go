package labeler_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services/labeler"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

func run(t *testing.T, f func(t *testing.T, c *st.Cluster)) {
	t.Helper()
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		c.Start(t, labeler.New(c.Base).Run)
		f(t, c)
	})
}

func refused(t *testing.T, err error, code api.Code, parts ...string) {
	t.Helper()
	if api.CodeOf(err) != code || err == nil {
		t.Errorf("got %v (%s), want a refusal %s", err, api.CodeOf(err), code)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("refusal %q does not say %q", err, p)
		}
	}
}

func types(c *st.Cluster, t *testing.T, node string) []string {
	t.Helper()
	var out []string
	done := errors.New("done")
	end, err := c.Events.LastSeqOf(t.Context(), events.Node(node))
	if err != nil || end == 0 {
		t.Fatalf("no events of %s (%v)", node, err)
	}
	err = c.Events.Follow(t.Context(), 1, []string{c.Subjects.Aggregate(events.Node(node))}, func(m events.Message) error {
		out = append(out, m.Event.Type.Action())
		if m.Event.Seq == end {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	return out
}

func TestDeclareRoundTrip(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		n := c.Hold(t, "node-1", "m1", "b1")
		req := n.Declaration(map[string]string{"zone": "a"})
		first := st.Must[api.DeclareReply](t, c, api.NodeDeclare, req)
		if first.Seq != 1 || first.Durable == "" {
			t.Errorf("reply %+v", first)
		}
		if _, err := c.JS.Consumer(t.Context(), c.EventsStream(), first.Durable); err != nil {
			t.Errorf("durable: %v", err)
		}
		again := st.Must[api.DeclareReply](t, c, api.NodeDeclare, req)
		other := n.Declare(t, map[string]string{"zone": "a"})
		if again != first || other != first {
			t.Errorf("repeated: %+v and %+v, first %+v", again, other, first)
		}
		want := []string{"membership.joined", "labels.updated"}
		if d := cmp.Diff(want, types(c, t, "node-1")); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}

		show := st.Must[api.NodeDetail](t, c, api.NodeShow, api.NodeRequest{Node: "node-1"})
		if show.Status != api.NodeReady || show.Inc != n.Lease.Inc || !maps.Equal(show.Labels, map[string]string{"zone": "a", "go-cluster.io/host": "10.0.0.7"}) {
			t.Errorf("node show: %+v", show)
		}

		// Declared anew: what is gone goes, what an operator set stays.
		st.Must[api.LabelReply](t, c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "node-1", Set: map[string]string{"role": "compute"}})
		changed := n.Declaration(map[string]string{"rack": "r1"})
		changed.Facts.Version = "next"
		st.Must[api.DeclareReply](t, c, api.NodeDeclare, changed)
		show = st.Must[api.NodeDetail](t, c, api.NodeShow, api.NodeRequest{Node: "node-1"})
		if !maps.Equal(show.Labels, map[string]string{"rack": "r1", "role": "compute", "go-cluster.io/host": "10.0.0.7"}) || show.Version != "next" {
			t.Errorf("declared anew: %+v", show.NodeView)
		}
		n.Declare(t, nil) // nothing declared any more
		n.Declare(t, nil)
		want = append(want, "labels.updated", "facts.updated", "labels.updated", "facts.updated", "labels.updated")
		if d := cmp.Diff(want, types(c, t, "node-1")); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	})
}

func TestDeclareIsBelievedOnlyFromTheHolder(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		n := c.Join(t, "node-1")
		impostor := n.Declaration(nil)
		impostor.Inc = "somebody-else"
		_, err := st.Call[api.DeclareReply](c, api.NodeDeclare, impostor)
		refused(t, err, api.CodeConflict, "node-1", n.Lease.Inc)
		nobody := n.Declaration(nil)
		nobody.Node = "node-2"
		_, err = st.Call[api.DeclareReply](c, api.NodeDeclare, nobody)
		refused(t, err, api.CodeConflict, "node-2", "nobody holds")
		reserved := n.Declaration(map[string]string{"go-cluster.io/host": "elsewhere"})
		_, err = st.Call[api.DeclareReply](c, api.NodeDeclare, reserved)
		refused(t, err, api.CodeInvalid, "go-cluster.io/host")
	})
}

// Of two copies of a declaration one is late, and its refusal is in the log first: the other one has that outcome, too.
func TestRefusedDeclarationIsNotCarriedOut(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		s := labeler.New(c.Base)
		c.Start(t, s.Run)
		n := c.Hold(t, "node-1", "machine", "boot")
		d := n.Declaration(nil)
		late := api.Refuse(api.CodeExpired, "node.declare: it arrived late")
		if _, err := s.Refused(t.Context(), d.Meta.Actor, "cmd:"+d.Meta.ID, "node.declare", late); err != nil {
			t.Fatal(err)
		}
		_, err := st.Call[api.DeclareReply](c, api.NodeDeclare, d)
		refused(t, err, api.CodeExpired, "it arrived late")
		if end, err := c.Events.LastSeqOf(t.Context(), events.Node("node-1")); err != nil || end > 0 {
			t.Errorf("stored at %d, %v", end, err)
		}
		n.Declare(t, nil)
	})
}

func TestReboot(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		n := c.Join(t, "node-1")
		n.Silence()
		n = c.Hold(t, "node-1", n.Lease.Machine, "boot-2")
		n.Declare(t, nil)
		want := []string{"membership.joined", "labels.updated", "membership.lost", "membership.joined"}
		if d := cmp.Diff(want, types(c, t, "node-1")); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	})
}

func TestLabelCommands(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Join(t, "node-1")
		req := api.LabelRequest{Meta: c.Meta(), Node: "node-1", Set: map[string]string{"role": "compute"}}
		first := st.Must[api.LabelReply](t, c, api.NodeLabel, req)
		if first.Before["role"] != "" || first.After["role"] != "compute" || !first.Changed {
			t.Errorf("reply %+v", first)
		}
		st.Must[api.LabelReply](t, c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "node-1", Set: map[string]string{"role": "storage"}})
		if d := cmp.Diff(first, st.Must[api.LabelReply](t, c, api.NodeLabel, req)); d != "" {
			t.Errorf("the same command again (-first +second):\n%s", d)
		}
		same := st.Must[api.LabelReply](t, c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "node-1", Set: map[string]string{"role": "storage"}, Remove: []string{"none"}})
		if same.Changed {
			t.Errorf("nothing to do, but %+v", same)
		}

		_, err := st.Call[api.LabelReply](c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "node-9", Set: map[string]string{"a": "b"}})
		refused(t, err, api.CodeNotFound, "node-9", "node-1")
		for _, bad := range []api.LabelRequest{
			{Set: map[string]string{"go-cluster.io/host": "x"}}, {Remove: []string{"go-cluster.io/host"}}, {Set: map[string]string{"a b": "x"}},
			{Set: map[string]string{"a": "x y"}}, {Set: map[string]string{"a": "x"}, Remove: []string{"a"}}, {},
		} {
			bad.Meta, bad.Node = c.Meta(), "node-1"
			_, err = st.Call[api.LabelReply](c, api.NodeLabel, bad)
			refused(t, err, api.CodeInvalid, "node-1")
		}
		many := map[string]string{}
		for i := range 64 {
			many[fmt.Sprint("k", i)] = "v"
		}
		_, err = st.Call[api.LabelReply](c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "node-1", Set: many})
		refused(t, err, api.CodeInvalid, "at most")

		rev := st.Must[api.NodeDetail](t, c, api.NodeShow, api.NodeRequest{Node: "node-1"}).Revision
		_, err = st.Call[api.LabelReply](c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "node-1", Set: map[string]string{"a": "b"}, IfRevision: rev - 1})
		refused(t, err, api.CodeConflict, "revision")
		st.Must[api.LabelReply](t, c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "node-1", Remove: []string{"role"}, IfRevision: rev})
	})
}

func TestCordonCommands(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Join(t, "node-1")
		req := api.NodeRequest{Meta: c.Meta(), Node: "node-1"}
		first := st.Must[api.Ack](t, c, api.NodeCordon, req)
		if again := st.Must[api.Ack](t, c, api.NodeCordon, req); again != first || !first.Changed {
			t.Errorf("the same command: %+v, then %+v", first, again)
		}
		if a := st.Must[api.Ack](t, c, api.NodeCordon, api.NodeRequest{Meta: c.Meta(), Node: "node-1"}); a.Changed {
			t.Errorf("cordoned twice: %+v", a)
		}
		c.Append(t, events.Draft{Aggregate: events.Node("node-1"), Actor: events.Planner, Data: &events.DrainStarted{Node: "node-1", Order: "d-1"}})
		drained := api.NodeRequest{Meta: c.Meta(), Node: "node-1"}
		_, err := st.Call[api.Ack](c, api.NodeUncordon, drained)
		refused(t, err, api.CodeRefused, "d-1", "cancel the drain")
		c.Append(t, events.Draft{Aggregate: events.Node("node-1"), Actor: events.Planner, Data: &events.DrainCancelled{Node: "node-1", Order: "d-1"}})
		_, again := st.Call[api.Ack](c, api.NodeUncordon, drained)
		if api.CodeOf(again) != api.CodeRefused || err.Error() != again.Error() {
			t.Errorf("a refused command got another answer when repeated: %v, then %v", err, again)
		}
		if a := st.Must[api.Ack](t, c, api.NodeUncordon, api.NodeRequest{Meta: c.Meta(), Node: "node-1"}); !a.Changed {
			t.Errorf("uncordon: %+v", a)
		}
		list := st.Must[[]api.NodeView](t, c, api.NodeList, api.ListRequest{})
		if len(list) != 1 || list[0].Scheduling != api.Schedulable {
			t.Errorf("node list: %+v", list)
		}
	})
}

// A node that falls silent: closed, suspected, waited out, lost, free; then the next incarnation, and the removal.
func TestSilentNodeIsLost(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Start(t, labeler.New(c.Another(t, "r2")).Run) // of two labelers one writes each
		silent := c.Join(t, "node-1")
		c.Join(t, "node-2")
		c.Join(t, "node-3")
		c.Pass(time.Minute)
		began := time.Now()
		silent.Silence()
		c.Until(t, "suspected", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusSuspected })
		if took := time.Since(began); took < 25*time.Second || took > 31*time.Second {
			t.Errorf("suspected after %s", took)
		}
		_, err := st.Call[api.Ack](c, api.NodeRemove, api.NodeRequest{Meta: c.Meta(), Node: "node-1"})
		refused(t, err, api.CodeRefused, "node-1", "waited out")
		c.Until(t, "lost", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusLost })
		if took := time.Since(began); took < 28500*time.Millisecond || took > 35*time.Second {
			t.Errorf("lost after %s", took)
		}
		c.Pass(time.Minute)
		if l, _, _ := c.Leases.Get(t.Context(), "node-1"); l.Lease.State != api.LeaseFree || l.Lease.N != 1 {
			t.Errorf("lease: %+v, want it free, n kept", l.Lease)
		}
		want := []string{"membership.joined", "labels.updated", "membership.suspected", "membership.lost"}
		if d := cmp.Diff(want, types(c, t, "node-1")); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		_, err = st.Call[api.DeclareReply](c, api.NodeDeclare, silent.Declaration(nil))
		refused(t, err, api.CodeConflict, "free")

		back := c.Join(t, "node-1")
		if back.Lease.N != 2 {
			t.Errorf("incarnation %s", back.Lease.Inc)
		}
		_, err = st.Call[api.Ack](c, api.NodeRemove, api.NodeRequest{Meta: c.Meta(), Node: "node-1"})
		refused(t, err, api.CodeRefused, "node-1", "ready")
		back.Silence()
		c.Until(t, "lost again", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusLost })
		st.Must[api.Ack](t, c, api.NodeRemove, api.NodeRequest{Meta: c.Meta(), Node: "node-1"})
		if _, err := c.JS.Consumer(t.Context(), c.EventsStream(), "agent-node-1"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Errorf("durable of a removed node: %v", err)
		}
		for _, n := range st.Must[[]api.NodeView](t, c, api.NodeList, api.ListRequest{}) {
			if n.ID == "node-1" {
				t.Errorf("still listed: %+v", n)
			}
		}
	})
}

func TestYieldNeedsNoWaiting(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		n := c.Join(t, "node-1")
		c.Join(t, "node-2")
		c.Pass(30 * time.Second)
		n.Silence()
		c.Until(t, "suspected", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusSuspected })
		began := time.Now()
		n.Yield(t)
		c.Until(t, "lost", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusLost })
		if took := time.Since(began); took > time.Second {
			t.Errorf("lost %s after it yielded", took)
		}
	})
}

func TestMassSilenceFreezes(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Join(t, "node-1")
		a, b := c.Join(t, "node-2"), c.Join(t, "node-3")
		c.Pass(30 * time.Second)
		a.Silence()
		b.Silence()
		c.Until(t, "frozen", func(v *projections.Cluster) bool { return v.Frozen[events.FreezeSafety] != "" })
		c.Pass(10 * time.Minute)
		c.Replica.View(func(v *projections.Cluster) {
			for _, n := range v.Nodes {
				if n.Status != projections.StatusReady {
					t.Errorf("%s is %s", n.ID, n.Status)
				}
			}
			if frozen := v.Metrics.Events["cluster.moves.frozen"]; frozen != 1 {
				t.Errorf("frozen %d times", frozen)
			}
		})
		a.Keep(t)
		c.Until(t, "unfrozen", func(v *projections.Cluster) bool { return v.Frozen[events.FreezeSafety] == "" })
		c.Until(t, "the other lost", func(v *projections.Cluster) bool { return v.Nodes["node-3"].Status == projections.StatusLost })
	})
}

func TestOperatorConfirmsLoss(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		n := c.Join(t, "node-1")
		ask := func(confirm bool) error {
			_, err := st.Call[api.Ack](c, api.NodeLost, api.NodeRequest{Meta: c.Meta(), Node: "node-1", Confirm: confirm})
			return err
		}
		c.Pass(10 * time.Second)
		refused(t, ask(true), api.CodeRefused, "node-1", "renewed")
		n.Silence()
		refused(t, ask(false), api.CodeInvalid, "--confirm")
		c.Pass(40 * time.Second) // the only node: never closed by silence alone
		if err := ask(true); err != nil {
			t.Fatal(err)
		}
		c.Pass(time.Second)
		if l, _, _ := c.Leases.Get(t.Context(), "node-1"); l.Lease.State != api.LeaseFree {
			t.Errorf("lease is %s", l.Lease.State)
		}
		// Whether the loop was fast enough to tell of the closed lease in between does not matter.
		got := slices.DeleteFunc(types(c, t, "node-1"), func(s string) bool { return s == "membership.suspected" })
		if d := cmp.Diff([]string{"membership.joined", "labels.updated", "membership.lost"}, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	})
}

// What continues in isolation survives the loss of its node, keeps the node from being removed, and ends at an operator's word.
func TestConfirmEndsWhatContinues(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		n := c.Join(t, "node-1")
		c.Join(t, "node-2")
		mv := events.Move{Migration: "m-1", App: "db", Instance: "db-0", SpecRev: 1, To: "node-1", ToInc: n.Lease.Inc, Reason: events.ReasonScale, Trigger: events.TriggerAutomatic}
		app := events.App("db")
		c.Append(t, events.Draft{Aggregate: app, Data: &events.AppApplied{Spec: spec.App{Name: "db", Mode: spec.Singleton, OnIsolation: spec.OnIsolationContinue}, SpecRev: 1, Generation: 1}})
		c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.PlanAdmitted{Plan: "p-1", Moves: []events.Move{mv}}})
		c.Append(t, events.Draft{Aggregate: app, Data: &events.MigrationStarted{Ref: mv.Ref(), Kind: mv.Kind(), SpecRev: 1, ToInc: mv.ToInc}})
		c.Append(t, events.Draft{Aggregate: app, Data: &events.MigrationCompleted{Ref: mv.Ref()}})
		c.Pass(30 * time.Second)
		n.Silence()
		c.Until(t, "lost", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusLost })
		_, err := st.Call[api.Ack](c, api.NodeRemove, api.NodeRequest{Meta: c.Meta(), Node: "node-1"})
		refused(t, err, api.CodeRefused, "db-0", "--confirm")
		word := api.NodeRequest{Meta: c.Meta(), Node: "node-1", Confirm: true}
		first := st.Must[api.Ack](t, c, api.NodeLost, word)
		if again := st.Must[api.Ack](t, c, api.NodeLost, word); again != first || !first.Changed {
			t.Errorf("%+v, then %+v", first, again)
		}
		if a := st.Must[api.Ack](t, c, api.NodeLost, api.NodeRequest{Meta: c.Meta(), Node: "node-1", Confirm: true}); a.Changed {
			t.Errorf("nothing left to end, but %+v", a)
		}
		c.Replica.View(func(v *projections.Cluster) {
			if len(v.On("node-1")) != 0 {
				t.Errorf("%s is still there", v.On("node-1")[0].ID)
			}
		})
		st.Must[api.Ack](t, c, api.NodeRemove, api.NodeRequest{Meta: c.Meta(), Node: "node-1"})
	})
}
