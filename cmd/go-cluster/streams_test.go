package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

func TestEvents(t *testing.T) {
	p := servePlane(t, "events", nil)
	moveEvents(p)
	o := p.cli("events")
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	if o.code != exitDone || len(lines) != 4 || decode[eventLine](t, lines[3]).Seq != 4 {
		t.Fatalf("%+v", o)
	}
	if o := p.cli("events", "--since-seq", "4"); strings.Count(o.out, "\n") != 1 {
		t.Errorf("since 4: %+v", o)
	}
	if o := p.cli("events", "--since-seq", "5"); o.code != exitDone || o.out != "" {
		t.Errorf("beyond the end: %+v", o)
	}
	if o := p.cli("events", "-o", "table", "--since-seq", "3"); !strings.Contains(o.out, "placement.leadership.granted  node-1 → node-2  epoch 2 granted to node-2") {
		t.Errorf("table: %+v", o)
	}
}

func TestEventsFollowed(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var asked atomic.Int32
	p := servePlane(t, "eventsf", answers{api.EventList: answer(func(r api.EventListRequest) (any, error) {
		rep := api.EventListReply{NextSeq: r.SinceSeq, LastSeq: 7}
		switch asked.Add(1) {
		case 1: // where is the end?
			return rep, nil
		case 2:
			return nil, api.Refuse(api.CodeTimeout, "the auditor catches up")
		case 3:
			if r.SinceSeq != 8 || r.Wait == 0 {
				t.Errorf("followed with %+v", r)
			}
			rep.Lines, rep.NextSeq = []api.RawLine{api.RawLine(`{"seq":8}`)}, 9
			return rep, nil
		}
		if r.SinceSeq != 9 {
			t.Errorf("went on with %+v", r)
		}
		interrupt()
		return rep, nil
	})})
	cli(ctx, "", "--server", server.ClientURL(), "--cluster", p.cluster, "events", "-f").want(t, exitInterrupted, "{\"seq\":8}\n",
		"still trying: the auditor catches up", "answers again")
}

func TestAudit(t *testing.T) {
	record := api.AuditRecord{TS: time.Now().Add(-time.Hour), Category: "placement", Action: "migration.started", App: "convex", Actor: "cli:ana", Seq: 9,
		Data: []byte(`{"from_node":"node-1"}`)}
	ctx, interrupt := context.WithCancel(t.Context())
	var waited atomic.Int32
	p := servePlane(t, "audit", answers{api.AuditList: answer(func(r api.AuditListRequest) (any, error) {
		if r.SinceSeq == 10 {
			if waited.Add(1) == 1 {
				return nil, api.Refuse(api.CodeTimeout, "the auditor catches up")
			}
			interrupt()
			return api.AuditListReply{NextSeq: 10}, nil
		}
		return api.AuditListReply{Records: []api.AuditRecord{record}, NextSeq: 10}, nil
	})})
	p.cli("audit", "list").want(t, exitDone, "SEQ  WHEN    ACTION                       APP     NODE  ACTOR\n9    1h ago  placement.migration.started  convex  -     cli:ana\n")
	if o := p.cli("audit", "list", "-o", "json"); len(decode[[]api.AuditRecord](t, o.out)) != 1 {
		t.Errorf("%+v", o)
	}
	o := cli(ctx, "", "--server", server.ClientURL(), "--cluster", p.cluster, "audit", "tail", "-o", "json")
	if o.code != exitInterrupted || strings.Count(o.out, "\n") != 1 || decode[api.AuditRecord](t, o.out).Seq != 9 {
		t.Errorf("%+v", o)
	}
}

// serveLogs is an agent that has one log per instance and sends it in the chunks given.
func serveLogs(t *testing.T, p *plane, node string, chunks map[string][]string, end nats.Header) {
	t.Helper()
	subjects, err := events.NewSubjects(p.cluster)
	if err != nil {
		t.Fatal(err)
	}
	var sending sync.WaitGroup
	sub, err := p.nc.Subscribe(subjects.API("logs", node), func(m *nats.Msg) {
		var req api.LogsRequest
		if err := json.Unmarshal(m.Data, &req); err != nil {
			t.Error(err)
		}
		reply, err := json.Marshal(api.LogsReply{Node: node, Instance: req.Instance})
		if err != nil {
			t.Error(err)
		}
		sending.Add(1) // before the answer, without which no test ends
		_ = m.Respond(reply)
		go func() {
			defer sending.Done()
			for i, text := range append(slices.Clone(chunks[req.Instance]), "") {
				chunk := nats.NewMsg(req.Inbox)
				chunk.Data = []byte(text)
				if i == len(chunks[req.Instance]) {
					chunk.Header = end
				}
				if _, err := p.nc.RequestMsg(chunk, 5*time.Second); err != nil {
					t.Errorf("chunk %d of %s: %v", i, req.Instance, err)
				}
			}
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sending.Wait()
		_ = sub.Unsubscribe()
	})
	if err := p.nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestLogs(t *testing.T) {
	var views atomic.Pointer[[]api.InstanceView]
	p := servePlane(t, "logs", answers{api.AppShow: answer(func(r api.AppRequest) (any, error) {
		return api.AppDetail{AppView: api.AppView{Name: r.App}, Instances: *views.Load()}, nil
	})})
	serveLogs(t, p, "node-1", map[string][]string{"web-0": {"one\ntw", "o\nthree"}}, nats.Header{api.LogsDone: {"true"}})
	serveLogs(t, p, "node-2", map[string][]string{"web-1": {"four\n"}}, nats.Header{api.LogsDone: {"true"}})
	serveLogs(t, p, "node-3", nil, nats.Header{api.LogsError: {"log file: permission denied"}})
	both := []api.InstanceView{{ID: "web-0", Node: "node-1"}, {ID: "web-1", Node: "node-2"}, {ID: "web-2"}}
	views.Store(&both)

	o := p.cli("app", "logs", "web")
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	slices.Sort(lines)
	if want := []string{"web-0 | one", "web-0 | three", "web-0 | two", "web-1 | four"}; o.code != exitDone || !slices.Equal(lines, want) {
		t.Errorf("%+v", o)
	}
	p.cli("app", "logs", "web", "--instance", "web-0").want(t, exitDone, "one\ntwo\nthree")
	p.cli("app", "logs", "web", "--instance", "web-9").want(t, exitNotFound, "", "instance web-9 of web is on no node; those that are: web-0, web-1")
	views.Store(&[]api.InstanceView{{ID: "web-0", Node: "node-3"}})
	p.cli("app", "logs", "web").want(t, exitError, "", "error: logs of web-0 on node-3: log file: permission denied")
	views.Store(&[]api.InstanceView{{ID: "web-0"}})
	p.cli("app", "logs", "web").want(t, exitNotFound, "", "no instance of web is on a node", "go-cluster app show web")
}

// While an instance moves it is in two places: of its new one a follower hears once it is there, and not twice.
func TestLogsOfAnInstanceInTwoPlaces(t *testing.T) {
	member := func(id, node, role string) api.InstanceView { return api.InstanceView{ID: id, Node: node, Role: role} }
	app := api.AppDetail{AppView: api.AppView{Name: "web"}, Instances: []api.InstanceView{member("web-0", "node-1", api.RoleMember), member("web-0", "node-2", api.RoleMember),
		member("web-1", "node-3", api.RoleStandby)}}
	placing := api.AppDetail{AppView: api.AppView{Name: "db"}, Instances: []api.InstanceView{member("db-0", "node-1", api.RoleStandby), member("db-1", "node-2", api.RoleStandby)}}
	if chosen, err := (&appLogs{Follow: true}).choose(placing); err != nil || len(chosen) != 1 || chosen[0].ID != "db-0" {
		t.Errorf("one that is being placed: %+v, %v", chosen, err)
	}
	for _, tc := range []struct {
		cmd  appLogs
		want []string
		err  string
	}{
		{appLogs{}, []string{"node-1", "node-2"}, ""},
		{appLogs{Follow: true}, []string{"node-1"}, ""},
		{appLogs{Instance: "web-1"}, nil, "instance web-1 of web is a standby, which writes nothing; those that do: web-0"},
	} {
		var nodes []string
		chosen, err := tc.cmd.choose(app)
		for _, i := range chosen {
			nodes = append(nodes, i.Node)
		}
		if said := fmt.Sprint(err); !slices.Equal(nodes, tc.want) || tc.err != "" && said != tc.err || tc.err == "" && err != nil {
			t.Errorf("%+v: %v, %v", tc.cmd, nodes, err)
		}
	}
}

func TestLogsFollowAnInstanceThatMoves(t *testing.T) {
	var asked atomic.Int32
	p := servePlane(t, "logsmove", answers{api.AppShow: answer(func(r api.AppRequest) (any, error) {
		switch n := asked.Add(1); {
		case n <= 2:
			return api.AppDetail{Instances: []api.InstanceView{{ID: "web-0", Node: fmt.Sprintf("node-%d", n)}}}, nil
		}
		return nil, api.Refuse(api.CodeNotFound, "no app %s", r.App)
	})})
	serveLogs(t, p, "node-1", map[string][]string{"web-0": {"before\n"}}, nats.Header{api.LogsDone: {"true"}})
	serveLogs(t, p, "node-2", map[string][]string{"web-0": {"after\n"}}, nats.Header{api.LogsDone: {"true"}})
	p.cli("app", "logs", "web", "-f").want(t, exitDone, "before\nafter\n", "-- web-0 is on node-2 now")
}

func TestPolicySetAndFreeze(t *testing.T) {
	frozen := map[string]string{}
	p := servePlane(t, "policy", answers{
		api.PolicySet: answer(func(r api.PolicyRequest) (any, error) {
			return api.Ack{Seq: 1, Changed: r.Policy.Migration.MaxConcurrent == 2}, nil
		}),
		api.PolicyShow: answer(func(api.ListRequest) (any, error) {
			return api.PolicyReply{Enforce: []string{"freeze"}, Frozen: frozen}, nil
		}),
		api.MovesFreeze: answer(func(r api.FreezeRequest) (any, error) { return api.Ack{Changed: r.Why == "storage maintenance"}, nil }),
		api.MovesUnfreeze: answer(func(r api.FreezeRequest) (any, error) {
			return api.Ack{Changed: r.Source == "safety"}, nil
		}),
	})
	args := []string{"--server", server.ClientURL(), "--cluster", p.cluster, "policy", "set", "-f", "-"}
	cli(t.Context(), "migration: {max_concurrent: 2}", args...).want(t, exitDone, "policy set\n", "warning: stored, but not enforced by this version: migration.max_concurrent")
	cli(t.Context(), "{}", args...).want(t, exitDone, "policy unchanged\n")
	cli(t.Context(), "migration: {max_concurrent: -2, cooldown: 5m}", args...).want(t, exitUsage, "", "error: policy not set: ", "-: migration.cooldown")
	cli(t.Context(), "cooldown: 5m", "policy", "diff", "-f", "-").want(t, exitUsage, "", "error: -: cooldown: unknown key")
	p.cli("policy", "diff", "-f", "/nowhere.yaml").want(t, exitUsage, "", "error: open /nowhere.yaml: no such file or directory")
	p.cli("freeze", "storage maintenance").want(t, exitDone, "moves are frozen; lift it with: go-cluster unfreeze\n")
	p.cli("unfreeze", "--source", "safety").want(t, exitDone, "freeze lifted\n")
	p.cli("unfreeze").want(t, exitDone, "moves were not frozen\n")

	frozen["safety"] = "3 of 5 nodes are silent" // which nobody is to believe that he has lifted
	p.cli("unfreeze").want(t, exitDone, "there was no freeze by operator\n", "moves are frozen by safety: 3 of 5 nodes are silent")
	p.cli("unfreeze", "--source", "safety").want(t, exitDone, "freeze lifted\n", "moves are frozen by safety: 3 of 5 nodes are silent")
	delete(frozen, "safety")
	frozen["operator"] = "storage maintenance"
	p.cli("freeze", "another reason").want(t, exitDone, "moves were frozen already, and stay so for the reason given then\n",
		"moves are frozen by operator: storage maintenance")
}
