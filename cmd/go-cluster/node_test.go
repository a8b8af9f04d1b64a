package main

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

func rejections() []events.Rejection {
	return []events.Rejection{
		{Node: "node-2", Code: events.RuleLabel, Detail: "label role=compute missing (has role=storage)"},
		{Node: "node-2", Code: events.RuleMemory, Detail: "1Gi wanted, 512Mi left"},
		{Node: "node-1", Code: events.RuleCordoned, Detail: "cordoned"},
	}
}

func proposals() []events.Proposal {
	return []events.Proposal{{App: "convex", Instance: "convex-0", From: "node-1", To: "node-2", Why: "imbalance 50% → 10%"}}
}

func TestDrainCordonsAllNodesFirst(t *testing.T) {
	var (
		mu    sync.Mutex
		calls []string
	)
	did := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, what)
	}
	node := func(id, zone string) api.NodeView {
		return api.NodeView{ID: id, Status: api.NodeReady, Scheduling: api.Schedulable, Labels: map[string]string{"zone": zone}}
	}
	p := servePlane(t, "drain", answers{
		api.NodeList: always[api.ListRequest]([]api.NodeView{node("n1", "b"), node("n3", "a"), node("n2", "a"), node("n4", "b"),
			{ID: "n5", Status: api.NodeHasLeft, Labels: map[string]string{"zone": "a"}}}),
		api.NodeCordon: answer(func(r api.NodeRequest) (any, error) {
			did("cordon " + r.Node)
			return api.Ack{Seq: 1, Changed: r.Node != "n2"}, nil
		}),
		api.NodeDrain: answer(func(r api.DrainRequest) (any, error) {
			did("drain " + strings.Join(r.Nodes, " ") + " " + r.Timeout.String())
			return api.DrainReply{Ack: api.Ack{Seq: 1, Changed: true}, Orders: map[string]string{"n1": "o1", "n2": "o2", "n3": "o3"}}, nil
		}),
	})
	stuck := api.OrderReply{State: api.OrderOpen, Left: []string{"convex-0"}, Stuck: []api.PendingView{{App: "convex", Instance: "convex-0", Reason: "no eligible node"}}}
	complete := api.OrderReply{State: api.OrderCompleted}
	p.states["o1"], p.states["o2"], p.states["o3"] = []api.OrderReply{complete}, []api.OrderReply{stuck}, []api.OrderReply{complete}
	p.cli("node", "drain", "n1", "-l", "zone=a", "--timeout", "5m").want(t, exitPending, "drained n1: nothing had to move\ndrained n3: nothing had to move\n",
		"n1 cordoned", "drain n2: 1 instance has nowhere to go: convex-0", "give it up with: go-cluster node drain n2 --cancel")
	if want := []string{"cordon n1", "cordon n2", "cordon n3", "drain n1 n2 n3 5m0s"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	calls = nil
	p.cli("node", "drain", "n1", "nope").want(t, exitNotFound, "", "nothing is done: no node nope")
	if len(calls) > 0 {
		t.Errorf("calls %q though a node is unknown", calls)
	}
	p.cli("node", "drain", "-l", "zone=nowhere").want(t, exitNotFound, "", "no node matches zone=nowhere")
}

func TestDrainStopsAtAFailedCordon(t *testing.T) {
	p := servePlane(t, "cordonfail", answers{
		api.NodeList: always[api.ListRequest]([]api.NodeView{{ID: "n1"}, {ID: "n2"}}), // n2 has left since
		api.NodeCordon: answer(func(r api.NodeRequest) (any, error) {
			if r.Node == "n2" {
				return nil, api.Refuse(api.CodeNotFound, "cordon n2: no such node")
			}
			return api.Ack{Seq: 1, Changed: true}, nil
		}),
		api.NodeDrain: answer(func(api.DrainRequest) (any, error) {
			t.Error("drained though a cordon failed")
			return api.DrainReply{}, nil
		}),
	})
	p.cli("node", "drain", "n1", "n2").want(t, exitNotFound, "", "error: nothing is drained: cordon n2: no such node", "go-cluster node uncordon n1")
}

func TestCordonReportsEveryNode(t *testing.T) {
	p := servePlane(t, "cordon", answers{
		api.NodeList: always[api.ListRequest]([]api.NodeView{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}), // n2 has left since
		api.NodeCordon: answer(func(r api.NodeRequest) (any, error) {
			if r.Node == "n2" {
				return nil, api.Refuse(api.CodeNotFound, "no node n2")
			}
			return api.Ack{Seq: 7, Changed: r.Node == "n1"}, nil
		}),
	})
	p.cli("node", "cordon", "n1", "n2", "n3").want(t, exitNotFound, "n1 cordoned\nn3 already cordoned\n", "error: no node n2")
	p.cli("node", "cordon", "n1", "nope").want(t, exitNotFound, "", "error: nothing is done: no node nope", "go-cluster node list")
	o := p.cli("node", "cordon", "n1", "-o", "json")
	if acks := decode[[]api.Ack](t, o.out); len(acks) != 1 || acks[0].Seq != 7 {
		t.Errorf("%+v", o)
	}
}

func labelPlane(t *testing.T, cluster string, plan api.PreviewReply) *plane {
	return servePlane(t, cluster, answers{
		api.PlanPreview: answer(func(r api.PreviewRequest) (any, error) {
			if r.Label == nil {
				t.Errorf("preview of %+v", r)
			}
			return plan, nil
		}),
		api.NodeShow: always[api.NodeRequest](api.NodeDetail{NodeView: api.NodeView{ID: "node-2", Labels: map[string]string{"role": "storage", "old": ""}}}),
		api.NodeLabel: answer(func(r api.LabelRequest) (any, error) {
			if r.IfRevision == 3 {
				return nil, api.Refuse(api.CodeConflict, "node node-2 is at revision 4")
			}
			return api.LabelReply{Ack: api.Ack{Seq: 2, Changed: true}, Before: map[string]string{"role": "storage", "old": "", "zone": "a"},
				After: map[string]string{"role": "compute", "new": "1", "zone": "a"}}, nil
		}),
		api.NodeStable: always[api.StableRequest](api.StableReply{Stable: true, Seq: 0}),
	})
}

func TestLabelSaysWhatItChanges(t *testing.T) {
	p := labelPlane(t, "label", api.PreviewReply{Moves: []api.PlannedMove{{App: "convex", Instance: "convex-0", From: "node-2", To: "node-3",
		Why: "label role=storage missing (has role=compute)", Wave: 1}}, Waves: 1, Gap: 1, Bound: api.Bound{MinMoves: 0}})
	want := "gone not set\nlabel new: 1 (new)\nlabel old: \"\" → removed\nlabel role: storage → compute\nlabel zone: a unchanged\n"
	p.cli("node", "label", "node-2", "role=compute", "new=1", "old-", "zone=a", "gone-").want(t, exitDone,
		want+"convex-0 will move node-2 → node-3: label role=storage missing (has role=compute)\n")
	p.cli("node", "label", "node-2", "role=compute", "--if-revision", "3").want(t, exitConflict, "", "error: node node-2 is at revision 4")
	p.cli("node", "label", "node-2", "role=compute", "--dry-run", "--detailed-exitcode").want(t, exitChanges,
		"label role: storage → compute\nINSTANCE  MOVE             REASON  WAVE  WHY\nconvex-0  node-2 → node-3  -       1     label role=storage missing (has role=compute)\n"+
			"1 move in 1 wave: at least 0 needed, gap 100%\nimbalance 0% → 0%\n")
	o := p.cli("node", "label", "node-2", "role=compute", "-o", "json")
	if res := decode[labelResult](t, o.out); res.Seq != 2 || len(res.Moves) != 1 || !strings.Contains(o.out, `"pending": []`) {
		t.Errorf("%+v", o)
	}
	o = p.cli("node", "label", "node-2", "role=compute", "--wait")
	if o.code != exitDone || !strings.Contains(o.out, "node-2 is stable after") {
		t.Errorf("%+v", o)
	}
}

func TestLabelRefusesToStrandAnApp(t *testing.T) {
	p := labelPlane(t, "strand", api.PreviewReply{NewlyPending: []string{"convex"}, Pending: []api.PendingView{
		{App: "convex", Instance: "convex-0", Reason: "no eligible node", Rejections: rejections()},
		{App: "other", Instance: "other-0", Reason: "was so before"},
	}})
	o := p.cli("node", "label", "node-2", "role=compute")
	o.want(t, exitRefused, "", "convex-0 has nowhere to go: no eligible node", "node-1  cordoned", "node-2  label", "1Gi wanted, 512Mi left",
		"error: node node-2 keeps its labels: convex would have nowhere to go", "--allow-pending")
	if strings.Contains(o.errors, "other-0") {
		t.Errorf("blamed for what was so before:\n%s", o.errors)
	}
	const warning = "warning: it would be refused: convex would have nowhere to go; repeat with --allow-pending"
	for _, format := range []string{"table", "json"} { // a dry run ends well whatever the plan says
		if o = p.cli("node", "label", "node-2", "role=compute", "--dry-run", "-o", format); o.code != exitDone || !strings.Contains(o.errors, warning) {
			t.Errorf("dry run: %+v", o)
		}
	}
	if o = p.cli("node", "label", "node-2", "role=compute", "--dry-run", "--allow-pending"); o.code != exitDone || strings.Contains(o.errors, "refused") {
		t.Errorf("dry run of what is allowed: %+v", o)
	}
	o = p.cli("node", "label", "node-2", "role=compute", "--allow-pending")
	if o.code != exitPending || !strings.Contains(o.out, "label role: storage → compute") {
		t.Errorf("%+v", o)
	}
}

// What was judged is what is changed: where the log has gone on between the two, the change is judged again, and not for ever.
func TestLabelIsJudgedOnWhatItChanges(t *testing.T) {
	var (
		judged, sent atomic.Int64
		quiet        int64 // from this judgement on nothing else happens
	)
	nowhere := api.PreviewReply{NewlyPending: []string{"convex"}, Pending: []api.PendingView{{App: "convex", Instance: "convex-0", Reason: "no eligible node"}}}
	second := api.PreviewReply{}
	p := servePlane(t, "labelraced", answers{
		api.PlanPreview: answer(func(api.PreviewRequest) (any, error) {
			plan := api.PreviewReply{}
			if judged.Add(1) > 1 {
				plan = second
			}
			plan.Seq = uint64(100 + judged.Load())
			return plan, nil
		}),
		api.NodeShow: always[api.NodeRequest](api.NodeDetail{NodeView: api.NodeView{ID: "node-2", Revision: 3}}),
		api.NodeLabel: answer(func(r api.LabelRequest) (any, error) {
			sent.Add(1)
			if r.IfPlanned > 0 && judged.Load() < quiet {
				return nil, api.Refuse(api.CodeConflict, "label: it rests on a plan as of sequence %d", r.IfPlanned)
			}
			if quiet > 0 && r.IfPlanned > 0 && r.IfPlanned != uint64(100+judged.Load()) {
				t.Errorf("it rests on %d, and was judged %d times", r.IfPlanned, judged.Load())
			}
			return api.LabelReply{Ack: api.Ack{Seq: 200, Changed: true}}, nil
		}),
	})
	for _, tc := range []struct {
		name         string
		quiet        int64
		second       api.PreviewReply
		args         []string
		code         int
		judged, sent int64
		says         string
	}{
		{"nothing happens", 1, nowhere, nil, exitDone, 1, 1, ""},
		{"another's change that has nothing to do with it", 3, api.PreviewReply{}, nil, exitDone, 3, 3, ""},
		{"another's change takes the place away", 2, nowhere, nil, exitRefused, 2, 1, "error: node node-2 keeps its labels: convex would have nowhere to go"},
		{"so be it", 2, nowhere, []string{"--allow-pending"}, exitPending, 2, 2, "convex-0 has nowhere to go"},
		{"a log that never stands still", 1000, api.PreviewReply{}, nil, exitConflict, judgeTries, judgeTries, "error: node node-2 keeps its labels: label: it rests on a plan as of sequence 105"},
		{"whatever becomes of apps", 1000, api.PreviewReply{}, []string{"--allow-pending"}, exitDone, judgeTries, judgeTries, ""},
		{"at this revision", 3, api.PreviewReply{}, []string{"--if-revision", "3"}, exitDone, 3, 3, ""},
		{"the node is another", 3, api.PreviewReply{}, []string{"--if-revision", "2"}, exitConflict, 1, 1, "error: label: it rests on a plan"},
	} {
		judged.Store(0)
		sent.Store(0)
		quiet, second = tc.quiet, tc.second
		o := p.cli(append([]string{"node", "label", "node-2", "role=compute"}, tc.args...)...)
		if o.code != tc.code || judged.Load() != tc.judged || sent.Load() != tc.sent || !strings.Contains(o.errors, tc.says) {
			t.Errorf("%s: judged %d times, sent %d times, %+v", tc.name, judged.Load(), sent.Load(), o)
		}
	}
}

func TestWaitStable(t *testing.T) {
	n := 0
	p := servePlane(t, "stable", answers{api.NodeStable: answer(func(r api.StableRequest) (any, error) {
		if r.MinSeq != 12 {
			t.Errorf("min_seq %d, want 12", r.MinSeq)
		}
		if n++; n < 3 {
			return api.StableReply{Seq: 12, Waiting: []string{"migration m1 of convex"}}, nil
		}
		return api.StableReply{Seq: 13, Stable: true}, nil
	})})
	o := p.cli("node", "wait-stable", "node-1", "--since-seq", "12", "--timeout", "2m")
	if o.code != exitDone || !strings.HasPrefix(o.out, "node-1 is stable after ") || o.errors != "node-1 waits for: migration m1 of convex\n" {
		t.Errorf("%+v", o)
	}
	n = -1000
	p.cli("node", "wait-stable", "node-1", "--since-seq", "12", "--timeout", "200ms").want(t, exitTimeUp, "", "is not stable after", "migration m1 of convex")
}

// Whether a node is stable is not known where nobody ever said.
func TestWaitStableOnNobody(t *testing.T) {
	cli(t.Context(), "", "--server", server.ClientURL(), "--cluster", "nobody", "--timeout", "200ms", "node", "wait-stable", "node-1").
		want(t, exitUnreachable, "", "error: wait for node node-1, for 0.", "no planner answers node.stable", "nats micro ls")
	p := servePlane(t, "silent", answers{api.NodeStable: refuses[api.StableRequest](api.Refuse(api.CodeUnavailable, "not caught up"))})
	p.cli("--timeout", "200ms", "node", "wait-stable", "node-1").want(t, exitUnreachable, "", "not caught up")
}
