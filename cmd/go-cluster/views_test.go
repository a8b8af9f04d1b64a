package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

func TestTables(t *testing.T) {
	started := time.Now().Add(-3*time.Minute - 10*time.Second)
	p := servePlane(t, "tables", answers{
		api.AppList: always[api.ListRequest]([]api.AppView{
			{Name: "convex", Mode: spec.Singleton, State: api.AppRunning, Desired: 1, Running: 1, Nodes: []string{"node-1"}},
			{Name: "web", Mode: spec.Replicas, State: api.AppPending, Desired: 3, Running: 2, Nodes: []string{"node-1", "node-2"}}}),
		api.NodeList: always[api.ListRequest]([]api.NodeView{
			{ID: "node-1", Status: api.NodeReady, Scheduling: api.Schedulable, Labels: map[string]string{"zone": "a", "role": "compute"},
				Apps: []string{"convex", "web"}, Load: api.Load{CPU: 0.251, Memory: 0.5}, Address: "10.0.0.1", Version: "1.0.0", Revision: 7,
				Capacity: spec.Resources{CPU: 4000, Memory: 8 << 30}},
			{ID: "node-2", Status: api.NodeSuspected, Scheduling: api.Cordoned, Load: api.Load{CPU: 0.7}}}),
		api.MigrationList: always[api.ListRequest]([]api.MigrationView{
			{ID: "m1", App: "convex", Instance: "convex-0", FromNode: "node-1", ToNode: "node-2", Reason: "manual", Status: api.MigrationCompleted,
				Step: "activate", Started: &started, DurationMS: 410},
			{ID: "m2", App: "web", Instance: "web-0", ToNode: "node-2", Reason: "scale", Status: api.MigrationHeld}}),
		api.AppShow: always[api.AppRequest](api.AppDetail{
			AppView: api.AppView{Name: "web", Mode: spec.Replicas, State: api.AppPending, Desired: 2, Running: 1},
			Spec:    spec.App{Require: []string{"role=compute"}}, SpecRev: 4, LossPossible: &api.LossView{Epoch: 3, BoundMS: 310, Seq: 165}, Why: "1 instance has no eligible node", Pending: rejections(),
			Instances: []api.InstanceView{{ID: "web-0", Node: "node-3", Role: api.RoleMember, State: api.InstanceRunning, Address: "10.0.0.3"}}}),
		api.MigrationShow: always[api.MigrationRequest](api.MigrationDetail{
			MigrationView: api.MigrationView{ID: "m1", App: "convex", Instance: "convex-0", FromNode: "node-1", ToNode: "node-2", Reason: "manual",
				Trigger: "manual", Status: api.MigrationCompleted, Started: &started, DurationMS: 410},
			Steps: []api.StepView{{Seq: 12, Event: "migration.started", Step: "prepare", Node: "node-2"},
				{Seq: 13, OffsetMS: 1210, Event: "step.completed", Step: "step_down", Node: "node-1", Detail: "position 7"}}}),
		api.PolicyShow: always[api.ListRequest](api.PolicyReply{Policy: spec.Policy{Migration: spec.MigrationPolicy{MaxConcurrent: 4}}, Seq: 9, By: "cli:ana",
			Frozen: map[string]string{"operator": "storage maintenance"}, Enforce: []string{"max_concurrent"}}),
	})
	for _, tc := range []struct{ line, want string }{
		{"app list", `NAME    MODE       STATE    RUNNING  NODES
convex  singleton  running  1/1      node-1
web     replicas   pending  2/3      node-1,node-2
`},
		{"node list", `NODE    STATUS     SCHEDULING   APPS  CPU  MEMORY  LABELS
node-1  ready      schedulable  2     25%  50%     role=compute,zone=a
node-2  suspected  cordoned     0     ?    ?       -
`},
		{"node list -l zone=a -o wide", `NODE    STATUS  SCHEDULING   APPS        CPU  MEMORY  LABELS               CAPACITY    ADDRESS   VERSION  REVISION
node-1  ready   schedulable  convex,web  25%  50%     role=compute,zone=a  4 cpu, 8Gi  10.0.0.1  1.0.0    7
`},
		{"migration list", `ID  INSTANCE  MOVE             STATUS     STEP      REASON  STARTED  TOOK
m1  convex-0  node-1 → node-2  completed  activate  manual  3m ago   0.41s
m2  web-0     → node-2         held       -         scale   -        -
`},
		{"app show web", `web  replicas  pending  1/2 running  revision 4
  require role=compute
  data: epoch 3 went on after a takeover: writes of the last 0.4 s may be lost (event 165)

INSTANCE  NODE    ROLE    STATE    EPOCH  ADDRESS
web-0     node-3  member  running  -      10.0.0.3

pending: 1 instance has no eligible node
  NODE    RULE      WHY
  node-1  cordoned  cordoned
  node-2  label     label role=compute missing (has role=storage)
          memory    1Gi wanted, 512Mi left
`},
		{"migration show m1", `m1  convex-0  node-1 → node-2  completed  manual, manual  started 3m ago  took 0.41s

OFFSET   SEQ  EVENT              STEP       NODE    DETAIL
+0.000s  12   migration.started  prepare    node-2  -
+1.210s  13   step.completed     step-down  node-1  position 7
`},
		{"policy show", `# set by cli:ana at sequence 9

migration:
  max_concurrent: 4

enforced by this version: max_concurrent
moves are frozen by operator: storage maintenance
`},
	} {
		p.cli(strings.Fields(tc.line)...).want(t, exitDone, tc.want)
	}
	if o := p.cli("node", "list", "-o", "json"); !strings.Contains(o.out, `"labels": {}`) || !strings.Contains(o.out, `"apps": []`) || strings.Contains(o.out, "null") {
		t.Errorf("empty lists and maps: %+v", o)
	}
	if o := p.cli("app", "list", "-o", "yaml"); !strings.Contains(o.out, "- desired: 1\n") {
		t.Errorf("yaml: %+v", o)
	}
}

func TestLossLine(t *testing.T) {
	for bound, want := range map[int64]string{0: "the last writes may be lost", 1: "writes of the last 0.1 s may be lost", 400: "writes of the last 0.4 s may be lost", 12_001: "writes of the last 12.1 s may be lost"} {
		if got := lossLine(api.LossView{Epoch: 2, BoundMS: bound, Seq: 7}); got != "data: epoch 2 went on after a takeover: "+want+" (event 7)" {
			t.Errorf("%d ms: %s", bound, got)
		}
	}
}

func TestEmptyLists(t *testing.T) {
	p := servePlane(t, "empty", answers{
		api.AppList:       always[api.ListRequest]([]api.AppView(nil)),
		api.NodeList:      always[api.ListRequest]([]api.NodeView(nil)),
		api.MigrationList: always[api.ListRequest]([]api.MigrationView(nil)),
		api.AuditList:     always[api.AuditListRequest](api.AuditListReply{}),
		api.NodeShow: answer(func(r api.NodeRequest) (any, error) {
			if r.Node != "node-9" {
				return nil, api.Refuse(api.CodeNotFound, "no node %s", r.Node)
			}
			return api.NodeDetail{NodeView: api.NodeView{ID: r.Node}}, nil
		}),
	})
	p.cli("app", "list").want(t, exitDone, "no apps yet; declare one with: go-cluster app apply -f FILE\n")
	p.cli("app", "list", "-o", "json").want(t, exitDone, "[]\n")
	p.cli("node", "list", "-l", "a=b", "-o", "json").want(t, exitDone, "[]\n")
	// What is looked for and not there says nothing of what there is.
	p.cli("node", "list", "-l", "zone=a").want(t, exitDone, "no node matches zone=a\n")
	p.cli("app", "list", "--node", "node-9").want(t, exitDone, "no app has an instance on node-9\n")
	p.cli("app", "list", "--node", "nosuch").want(t, exitNotFound, "", "no node nosuch", "go-cluster node list")
	p.cli("migration", "list").want(t, exitDone, "no migrations\n")
	p.cli("migration", "list", "--app", "nosuch").want(t, exitDone, "no migrations of app nosuch\n")
	p.cli("migration", "list", "--app", "web", "--node", "nosuch").want(t, exitDone, "no migrations of app web on node nosuch\n")
	p.cli("audit", "list", "--node", "nosuch").want(t, exitDone, "no audit records on node nosuch\n")
}

// noRoom is a disk that is full.
type noRoom struct{}

// Write implements io.Writer.
func (noRoom) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A script must not take half a result for a whole one.
func TestResultThatCannotBeWritten(t *testing.T) {
	p := servePlane(t, "full", answers{api.AppList: always[api.ListRequest]([]api.AppView{{Name: "web"}})})
	for _, line := range []string{"app list", "app list -o json"} {
		var errors strings.Builder
		args := append([]string{"--server", server.ClientURL(), "--cluster", p.cluster}, strings.Fields(line)...)
		if code := run(t.Context(), args, strings.NewReader(""), noRoom{}, &errors); code != exitError || !strings.Contains(errors.String(), "no space left") {
			t.Errorf("%s: exit code %d, stderr %q", line, code, errors.String())
		}
	}
}

func TestTimesForPeople(t *testing.T) {
	now := time.Date(2024, 1, 15, 10, 30, 0, 0, time.UTC)
	for _, tc := range []struct {
		d    time.Duration
		want string
	}{
		{0, "just now"}, {59 * time.Second, "59s ago"}, {61 * time.Second, "1m ago"}, {2 * time.Hour, "2h ago"}, {72 * time.Hour, "3d ago"}, {-time.Minute, "in 1m"},
	} {
		if got := ago(now, now.Add(-tc.d)); got != tc.want {
			t.Errorf("ago(%s) = %q, want %q", tc.d, got, tc.want)
		}
	}
	for _, tc := range []struct {
		d    time.Duration
		want string
	}{
		{410 * time.Millisecond, "0.41s"}, {12340 * time.Millisecond, "12.3s"}, {5 * time.Minute, "5m"}, {90 * time.Minute, "1h30m"}, {2 * time.Hour, "2h"},
	} {
		if got := took(tc.d); got != tc.want {
			t.Errorf("took(%s) = %q, want %q", tc.d, got, tc.want)
		}
	}
}

// Whoever looks at a node that is being emptied reads what keeps it from being empty.
func TestNodeShowSaysWhatStays(t *testing.T) {
	p := servePlane(t, "stays", answers{api.NodeShow: always[api.NodeRequest](api.NodeDetail{NodeView: api.NodeView{ID: "n1"},
		Orders: []api.NodeOrder{{Order: "d-1", Kind: "drain", By: "cli:ana"}, {Order: "e-1", Kind: "evacuation", Selector: "zone=a", By: "cli:bo"}}})})
	p.states["d-1"] = []api.OrderReply{{State: api.OrderOpen, Stays: []api.StayView{{ID: "db-0", App: "db", Node: "n1", Why: "its move n1 → n2 is held: frozen: change window"}}}}
	p.states["e-1"] = []api.OrderReply{{State: api.OrderOpen, Stays: []api.StayView{{ID: "web-1", App: "web", Node: "n2", Why: "elsewhere"}}}}
	o := p.cli("node", "show", "n1")
	if !strings.Contains(o.out, "node drain n1 --cancel\n  db-0: its move n1 → n2 is held: frozen: change window\n") || strings.Contains(o.out, "web-1") {
		t.Errorf("%+v", o)
	}
}

// What was never started took no time.
func TestMigrationThatNeverStarted(t *testing.T) {
	p := servePlane(t, "never", answers{api.MigrationShow: always[api.MigrationRequest](api.MigrationDetail{MigrationView: api.MigrationView{ID: "m1",
		Instance: "db-0", FromNode: "n1", ToNode: "n2", Reason: "drain", Trigger: "manual", Status: api.MigrationCancelled, Detail: "denied by cli:ana"}})})
	if o := p.cli("migration", "show", "m1"); !strings.HasPrefix(o.out, "m1  db-0  n1 → n2  cancelled  drain, manual\n  denied by cli:ana\n") {
		t.Errorf("%+v", o)
	}
}
