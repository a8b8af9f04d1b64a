package main

import (
	"context"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/api"
)

func moveEvents(p *plane) {
	ref := `"migration":"m1","instance":"convex-0","from_node":"node-1","to_node":"node-2"`
	head := `{"ts":"2024-01-15T10:30:00Z","app":"convex","category":"placement","action":`
	p.store(`%s"migration.started","data":{%s,"next":{"step":"prepare","node":"node-2","inc":"i","timeout":"1m"}}}`, head, ref)
	p.store(`%s"step.completed","data":{%s,"step":"prepare","node":"node-2"}}`, head, ref)
	p.store(`%s"leadership.granted","data":{%s,"epoch":2,"node":"node-2"}}`, head, ref)
	p.store(`%s"migration.completed","data":{%s,"duration_ms":410}}`, head, ref)
}

func convex(status string) api.MigrationView {
	return api.MigrationView{ID: "m1", App: "convex", Instance: "convex-0", FromNode: "node-1", ToNode: "node-2", Status: status, DurationMS: 410,
		Detail: map[bool]string{true: "exec: not found"}[status == api.MigrationFailed]}
}

func TestMoveIsFollowedToItsEnd(t *testing.T) {
	var asked api.MoveRequest
	p := servePlane(t, "move", answers{api.AppMove: answer(func(r api.MoveRequest) (any, error) {
		asked = r
		return api.Ack{Seq: 1, Changed: true, Order: "m1"}, nil
	})})
	moveEvents(p)
	p.states["m1"] = []api.OrderReply{
		{Kind: "migration", State: api.OrderOpen, Migrations: []api.MigrationView{convex(api.MigrationRunning)}},
		{Kind: "migration", State: api.OrderCompleted, Migrations: []api.MigrationView{convex(api.MigrationCompleted)}},
	}
	o := p.cli("app", "move", "convex", "--from", "node-1", "--to", "node-2")
	o.want(t, exitDone, "moved convex node-1 → node-2 in 0.41s\n", "convex-0 node-1 → node-2: started, preparing on node-2",
		"prepared on node-2", "epoch 2 granted to node-2", "completed in 0.41s")
	if n := strings.Count(o.errors, "\n"); n != 4 {
		t.Errorf("%d lines of progress, want 4:\n%s", n, o.errors)
	}
	if asked.App != "convex" || asked.From != "node-1" || asked.To != "node-2" || !strings.HasPrefix(asked.Actor, "cli:") || asked.Expires.IsZero() {
		t.Errorf("asked %+v", asked)
	}
}

func TestResultForPrograms(t *testing.T) {
	p := servePlane(t, "movejson", answers{api.AppMove: always[api.MoveRequest](api.Ack{Seq: 1, Changed: true, Order: "m1"})})
	p.states["m1"] = []api.OrderReply{{Kind: "migration", State: api.OrderCompleted, Migrations: []api.MigrationView{convex(api.MigrationCompleted)}}}
	o := p.cli("app", "move", "convex", "-o", "json")
	if rep := decode[api.OrderReply](t, o.out); rep.State != api.OrderCompleted || len(rep.Migrations) != 1 || o.code != exitDone {
		t.Errorf("%+v", o)
	}
	if !strings.Contains(o.out, `"left": []`) || !strings.Contains(o.errors, "moved convex") {
		t.Errorf("%+v", o)
	}
}

func TestFollowedOrdersEndWithTheirCode(t *testing.T) {
	pending := []api.PendingView{{App: "convex", Instance: "convex-0", Reason: "no eligible node", Rejections: rejections()}}
	p := servePlane(t, "ends", answers{
		api.AppMove:     always[api.MoveRequest](api.Ack{Seq: 1, Changed: true, Order: "o1"}),
		api.AppEvacuate: always[api.EvacuateRequest](api.Ack{Seq: 1, Changed: true, Order: "o1"}),
		api.AppRestart:  always[api.AppRequest](api.Ack{Seq: 1, Changed: true, Order: "o1"}),
		api.AppShow:     always[api.AppRequest](api.AppDetail{AppView: api.AppView{Name: "convex", Running: 1, Desired: 1, Nodes: []string{"node-2"}}}),
		api.AppRebalance: always[api.RebalanceRequest](api.RebalanceReply{Ack: api.Ack{Seq: 1, Order: "o1"}, Before: 0.5, After: 0.1,
			Moves: proposals()}),
		api.MigrationCancel: always[api.MigrationRequest](api.Ack{Seq: 1, Changed: true}),
		api.NodeList:        always[api.ListRequest]([]api.NodeView{{ID: "node-1", Status: api.NodeReady, Labels: map[string]string{"zone": "a"}}}),
	})
	for _, tc := range []struct {
		line  string
		state api.OrderReply
		code  int
		out   string
		err   []string
	}{
		{"app move convex", api.OrderReply{State: api.OrderFailed, Migrations: []api.MigrationView{convex(api.MigrationFailed)}}, exitFailedMoves, "",
			[]string{"error: move convex node-1 → node-2 failed: exec: not found"}},
		{"app evacuate --label zone=a", api.OrderReply{State: api.OrderOpen, Left: []string{"convex-0"}, Stuck: pending}, exitPending, "",
			[]string{"convex-0 has nowhere to go: no eligible node", "label role=compute missing (has role=storage)", "cordoned", "the evacuation stays open"}},
		{"app evacuate --label zone=a", api.OrderReply{State: api.OrderFailed, Left: []string{"convex-0"}}, exitTimeUp, "",
			[]string{"error: evacuation zone=a: time is up after 0 moves; left where they are: convex-0"}},
		{"app evacuate --label zone=a", api.OrderReply{State: api.OrderCompleted, Migrations: []api.MigrationView{convex(api.MigrationCompleted)}}, exitDone,
			"evacuated zone=a: 1 instance moved\n", nil},
		{"app evacuate --label zone=b", api.OrderReply{}, exitNotFound, "", []string{"error: no node matches zone=b"}},
		{"app rebalance --all", api.OrderReply{State: api.OrderCompleted, Migrations: []api.MigrationView{convex(api.MigrationCompleted)}}, exitDone,
			"rebalanced all apps: 1 instance moved\n", []string{"rebalance of all apps: 1 move, imbalance 50% → 10%"}},
		{"app restart convex", api.OrderReply{State: api.OrderCompleted}, exitDone, "convex runs on node-2 (1/1)\n", nil},
		{"migration cancel o1", api.OrderReply{State: api.OrderFailed, Migrations: []api.MigrationView{convex(api.MigrationFailed)}}, exitDone,
			"cancelled migration o1\n", nil},
	} {
		p.mu.Lock()
		p.states["o1"] = []api.OrderReply{tc.state}
		p.mu.Unlock()
		p.cli(strings.Fields(tc.line)...).want(t, tc.code, tc.out, tc.err...)
	}
	p.cli("app", "move", "convex", "--detach").want(t, exitDone, "move convex accepted (o1); look with: go-cluster migration show o1\n")
}

func TestInterruptStopsTheWatchingOnly(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	p := servePlane(t, "interrupt", answers{
		api.AppMove: always[api.MoveRequest](api.Ack{Seq: 1, Changed: true, Order: "m1"}),
		api.OrderStatus: answer(func(api.OrderRequest) (any, error) {
			interrupt()
			return api.OrderReply{Order: "m1", State: api.OrderOpen, Migrations: []api.MigrationView{convex(api.MigrationRunning)}}, nil
		}),
	})
	o := cli(ctx, "", "--server", server.ClientURL(), "--cluster", p.cluster, "app", "move", "convex")
	o.want(t, exitInterrupted, "", "the work goes on; look with: go-cluster migration show m1")
}

func TestTimeoutStopsTheWatching(t *testing.T) {
	p := servePlane(t, "limit", answers{api.AppMove: always[api.MoveRequest](api.Ack{Seq: 1, Changed: true, Order: "m1"})})
	p.states["m1"] = []api.OrderReply{{State: api.OrderOpen, Migrations: []api.MigrationView{convex(api.MigrationRunning)}}}
	p.cli("app", "move", "convex", "--timeout", "300ms").want(t, exitTimeUp, "", "time is up", "the work goes on", "go-cluster migration show m1")
}

func TestFollowBearsAnOutage(t *testing.T) {
	n := 0
	p := servePlane(t, "outage", answers{
		api.AppMove:   always[api.MoveRequest](api.Ack{Seq: 1, Changed: true, Order: "m1"}),
		api.EventList: refuses[api.EventListRequest](api.Refuse(api.CodeInternal, "the auditor's disk is full")),
		api.OrderStatus: answer(func(r api.OrderRequest) (any, error) {
			if r.MinSeq < 1 {
				t.Errorf("asked for a state older than the order: %+v", r)
			}
			if n++; n == 1 {
				return nil, api.Refuse(api.CodeTimeout, "the planner catches up")
			}
			return api.OrderReply{State: api.OrderCompleted, Migrations: []api.MigrationView{convex(api.MigrationCompleted)}}, nil
		}),
	})
	p.cli("app", "move", "convex").want(t, exitDone, "moved convex node-1 → node-2 in 0.41s\n",
		"the event log cannot be read, single steps are not shown: the auditor's disk is full",
		"the control plane does not answer, still trying: the planner catches up", "answers again", "completed in 0.41s")
}
