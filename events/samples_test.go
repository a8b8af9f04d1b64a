package events

import (
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// sample is a payload with every field set, and where its event stands.
type sample struct {
	aggregate Aggregate
	target    string
	app, node string
	data      any
	gained    string // names the file of a further message of a type, with what the type gained later
}

var (
	sampleRef = Ref{Migration: "m-5f1d", Instance: "convex-0", FromNode: "node-1", ToNode: "node-2", Reason: ReasonLabelChange, Trigger: TriggerAutomatic}

	sampleResult = &Result{Ports: map[string]int{"http": 20011, "raft": 20012}, Address: "10.0.1.12", Position: "0/16B3748",
		Checksum: "sha256:5feceb66", Released: true, TookMS: 412}

	sampleNext = &Next{Step: StepStepDown, Node: "node-1", Inc: "k7-b3-4", Timeout: spec.Duration(time.Minute), Attempt: 2, Undo: true}

	sampleRejections = []Rejection{
		{Node: "node-3", Code: RuleLabel, Detail: "label role=storage missing (has role=compute)"},
		{Node: "node-4", Code: RuleMemory, Detail: "needs 4Gi, 1Gi left"},
	}

	sampleFacts = Facts{Address: "10.0.1.12", Version: "1.4.0", CPU: 7500, Memory: 32 << 30, OS: "linux", Arch: "amd64", Drivers: []string{"process"}}
)

// carryingFacts are those of a node that can carry addresses, and of one that says why it cannot.
func carryingFacts() Facts {
	f := sampleFacts
	f.VIP = &VIPFacts{Interfaces: []string{"eth0", "eth1"}, Why: "the agent has no capability NET_ADMIN"}
	return f
}

func sampleMove() Move {
	return Move{Migration: "m-5f1d", App: "convex", Instance: "convex-0", SpecRev: 3, From: "node-1", FromInc: "k7-b3-4", To: "node-2",
		ToInc: "k9-b1-1", Reason: ReasonDrain, Trigger: TriggerManual, Class: ClassForced, Forced: true, Order: "o-drain-1", DeleteLocal: true,
		Cause: "cmd:01J8", Correlation: "cmd:01J8", Why: "node-1 is drained"}
}

// sampleApp sets every field, also those that no one app may have together.
func sampleApp() spec.App {
	execution := spec.Execution{EnvFile: "/etc/convex.env", SecretEnv: map[string]string{"TOKEN": "/run/secrets/token"}, User: "convex", Group: "convex", Cwd: "$GC_DATA_DIR"}
	return spec.App{
		Name: "convex", Mode: spec.Singleton, Replicas: new(3), Partitions: 256, Standbys: 1, Require: []string{"role=storage", "zone in (a,b)"},
		Prefer:  []spec.Preference{{Label: "zone=a", Node: "node-1", Weight: 50}},
		OnNodes: []string{"node-1", "node-2"}, WithApp: []string{"cache"}, AwayFromApp: []string{"report"},
		SpreadOver: []spec.SpreadOver{{Label: "zone", MaxSkew: 1}},
		Resources:  spec.Resources{CPU: 2000, Memory: 4 << 30},
		Process: &spec.Process{Command: []string{"/usr/bin/convex", "--port", "$GC_PORT_HTTP"}, Env: map[string]string{"LEVEL": "info", "AREA": "eu"},
			StopSignal: "TERM", StopTimeout: spec.Duration(30 * time.Second), Execution: execution},
		Ports: map[string]int{"http": 8080, "raft": 9090},
		Health: &spec.Health{HTTP: "http://127.0.0.1:$GC_PORT_HTTP/health", TCP: "127.0.0.1:8080", Exec: []string{"/usr/bin/true"}, Interval: spec.Duration(time.Second),
			Timeout: spec.Duration(time.Second), HealthyAfter: 2, FailAfter: 3},
		SQLite: "$GC_DATA_DIR/convex.db",
		VIP:    &spec.VIP{Address: "10.0.1.100/24", Interface: "eth0"},
		Pool:   &spec.Pool{HAProxy: "unix:/run/haproxy.sock", Nodes: []string{"lb-1"}, Backend: "web", Port: "http"},
		Migration: spec.Migration{DrainTimeout: spec.Duration(30 * time.Second), MinHealthyTime: spec.Duration(time.Second), StepTimeout: spec.Duration(time.Minute),
			MoveCost: 1, MaxParallel: 2, MinHealthy: 1},
		Restart: spec.Restart{Attempts: new(3), Within: spec.Duration(time.Minute), Backoff: spec.Duration(500 * time.Millisecond)},
		Ring:    &spec.RingOptions{Callbacks: "http://127.0.0.1:9000"},
		Hooks:   map[string]spec.HookRef{"before_move": {Command: []string{"/usr/bin/check"}, URL: "http://127.0.0.1:9001", Timeout: spec.Duration(5 * time.Second)}},
		Data:    spec.DataLocal, OnInvalid: spec.OnInvalidKeep, OnIsolation: spec.OnIsolationStop, MaxUnavail: 1, Labels: map[string]string{"team": "storage"},
		Execution: execution,
	}
}

func samplePolicy() spec.Policy {
	return spec.Policy{
		Migration: spec.MigrationPolicy{
			CooldownPeriod: spec.Duration(5 * time.Minute), RateLimit: spec.Rate{Count: 10, Window: spec.Duration(time.Hour)}, RequireApproval: true,
			MaintenanceWindows: []spec.TimeWindow{{Start: "02:00", End: "06:00", Timezone: "Europe/Berlin", Days: []string{"sat", "sun"}}},
			LoadThreshold:      0.8, MaxConcurrent: 4,
		},
		AutoRebalance: spec.AutoRebalancePolicy{Enabled: true, Interval: spec.Duration(10 * time.Minute), Threshold: 0.2, MaxConcurrent: 2,
			CooldownPeriod: spec.Duration(30 * time.Minute), ExcludeApps: []string{"cache"}},
	}
}

func samples() []sample {
	onNode := func(data any) sample { return sample{aggregate: Node("node-2"), node: "node-2", data: data} }
	onApp := func(data any) sample {
		return sample{aggregate: App("convex"), app: "convex", node: "node-2", data: data}
	}
	ordering := func(data any) sample {
		return sample{aggregate: App("convex"), app: "convex", node: "node-1", target: sampleNext.Node, data: data}
	}
	onCluster := func(data any) sample { return sample{aggregate: Cluster("prod"), data: data} }
	policy, declaring := samplePolicy(), sampleFacts
	until := time.Date(2026, 1, 15, 11, 30, 0, 0, time.UTC)
	holds := []Hold{{Rule: HoldCooldown, Detail: "convex moved at 10:29, cooldown 1h", Until: until}, {Rule: HoldApproval, Detail: "waits for an operator"}}
	declaring.Drivers, declaring.Apps, declaring.Policy = []string{"embedded"}, []spec.App{sampleApp()}, &policy
	approved := sampleMove()
	approved.Approved = "130877c455b1d50aee39"
	synchronous := approved
	synchronous.Sync = true
	storing := &Result{Position: "e7:116", Stored: true, TookMS: 12}
	standing := approved
	standing.Role, standing.Keep = RoleStandby, true
	expiring, slow := samplePolicy(), sampleFacts
	expiring.Migration.ApprovalExpiry = spec.Duration(8 * time.Hour)
	slow.Policy = &expiring
	logging, inCode := sampleApp(), sampleFacts
	logging.SQLite, logging.Log = "", true
	inCode.Drivers, inCode.Apps = []string{"embedded"}, []spec.App{logging}
	hooked := &Result{TookMS: 412, Hook: &HookResult{Code: HookVetoed, Detail: "not ready for migration", RetryAfter: spec.Duration(time.Minute)}}
	exact := &Next{Step: StepApply, Node: "node-1", Inc: "k7-b3-4", Timeout: spec.Duration(time.Minute), Position: "e7:117", Checksum: "crc64:9a3f0c2b11d4e7f0"}
	recovered := &Result{Position: "e7:116", Checksum: "crc64:77c1d20e94ab3f15", Incomplete: true, Shipped: time.Date(2026, 1, 15, 10, 29, 58, 750000000, time.UTC), TookMS: 310}
	unseen := new(*recovered)
	unseen.Unsure = true
	proposals := []Proposal{{App: "web", Instance: "web-2", From: "node-1", To: "node-2", Why: "node-1 has 80 % of its memory asked for, node-2 20 %"}}
	return []sample{
		onNode(&NodeJoined{Node: "node-2", Inc: "k9-b1-1", Machine: "k9", TTL: spec.Duration(10 * time.Second), Epochs: map[string]uint64{"convex": 7, "cache": 2}, Facts: sampleFacts}),
		onNode(&NodeSuspected{Node: "node-2", Inc: "k9-b1-1", LeaseSeq: 812, Silent: spec.Duration(10 * time.Second)}),
		onNode(&NodeLost{Node: "node-2", Inc: "k9-b1-1", Reason: LostSilent, Confirmed: true, LeaseSeq: 812, Waited: spec.Duration(11 * time.Second)}),
		onNode(&NodeLeft{Node: "node-2", Inc: "k9-b1-1"}),
		onNode(&NodeFactsUpdated{Node: "node-2", Facts: sampleFacts}),
		onNode(&NodeLabelsUpdated{Node: "node-2", Before: map[string]string{"role": "compute"}, After: map[string]string{"role": "storage", "zone": "a"},
			Declared: map[string]string{"zone": "a"}}),
		onNode(&NodeCordoned{Node: "node-2"}),
		onNode(&NodeUncordoned{Node: "node-2"}),
		onNode(&DrainStarted{Node: "node-2", Order: "o-drain-1", Timeout: spec.Duration(10 * time.Minute), Force: true, DeleteLocal: true}),
		onNode(&DrainCompleted{Node: "node-2", Order: "o-drain-1", Moved: 4}),
		onNode(&DrainFailed{Node: "node-2", Order: "o-drain-1", Code: "timeout", Left: []string{"convex-0"}}),
		onNode(&DrainCancelled{Node: "node-2", Order: "o-drain-1"}),

		onApp(&AppApplied{Spec: sampleApp(), SpecRev: 3, Generation: 2}),
		onApp(&PlacementUpdated{Rules: sampleApp().Rules(), SpecRev: 4}),
		onApp(&AppRemoved{DeleteLocal: true}),
		onApp(&AppRestartRequested{Generation: 3}),
		onApp(&PlacementInvalid{Instance: "convex-0", Missing: 1, Code: "no_eligible_node", Reason: "no node has role=storage and 4Gi left", Rejections: sampleRejections, Nodes: 4}),
		onApp(&PlacementSatisfied{Node: "node-2"}),
		onApp(&CancelRequested{Ref: sampleRef, Why: "operator"}),
		ordering(&MigrationStarted{Ref: sampleRef, Kind: KindMove, Plan: "p-77", SpecRev: 3, Generation: 2, FromInc: "k7-b3-4", ToInc: "k9-b1-1", Order: "o-drain-1",
			Class: ClassForced, DeleteLocal: true, Next: sampleNext}),
		onApp(&MigrationCompleted{Ref: sampleRef, DurationMS: 2150, Step: StepStop, Result: sampleResult}),
		onApp(&MigrationFailed{Ref: sampleRef, Code: "stale", Detail: "node-2 no longer has role=storage", Rules: sampleRejections, Left: LeftAtSource, BadNode: "node-2", DurationMS: 950}),
		ordering(&StepRequested{Ref: sampleRef, Why: "node-1 restarted since the step was ordered", Next: sampleNext}),
		ordering(&StepCompleted{Ref: sampleRef, Step: StepPrepare, Node: "node-2", OrderSeq: 4711, TookMS: 430, Result: sampleResult, Next: sampleNext}),
		ordering(&StepFailed{Ref: sampleRef, Step: StepStart, Node: "node-2", OrderSeq: 4711, Code: "exit", Detail: "the program ended with status 1 after 20ms", Result: sampleResult, Next: sampleNext}),
		ordering(&StepTimedOut{Ref: sampleRef, Step: StepStart, Node: "node-2", OrderSeq: 4711, Next: sampleNext}),
		ordering(&LeadershipGranted{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4711, Result: sampleResult, Undo: true, Next: sampleNext}),
		ordering(&LeadershipActivated{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4713, Next: sampleNext}),
		onApp(&LeadershipReleased{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", Why: ReleasedFenced, OrderSeq: 4715, Result: sampleResult}),
		onApp(&DataLost{Instance: "convex-0", Node: "node-1", Epoch: 7, From: "e7:117", Found: "e7:121", Bytes: 8192, Aside: "/var/lib/go-cluster/node-1/process/data/convex-0/convex.db.aside-e7"}),
		onApp(&InstanceUnhealthy{Instance: "convex-0", Node: "node-2", Detail: "GET /health: 503"}),
		onApp(&InstanceHealthy{Instance: "convex-0", Node: "node-2"}),
		onApp(&InstanceFailed{Instance: "convex-0", Node: "node-2", Detail: "ended 4 times within 1m0s, last with status 1"}),
		onApp(&InstanceStopped{Instance: "convex-0", Node: "node-2", Detail: "ended while the agent was down"}),

		onCluster(&PlanAdmitted{Plan: "p-77", Moves: []Move{sampleMove()}, StateSeq: 4700, PolicyHash: "9f86d081884c7d659a2f", Planner: "1.4.0",
			Refused: []RefusedNodes{{App: "convex", Code: RuleLabel, Detail: "label role=storage missing (has role=compute)", Count: 2, Examples: []string{"node-3", "node-4"}}},
			Scores:  map[string]int64{"m-5f1d": 830}}),
		onCluster(&EvacuationStarted{Order: "o-evac-1", Selector: "zone=a,!gpu", Timeout: spec.Duration(10 * time.Minute)}),
		onCluster(&EvacuationCompleted{Order: "o-evac-1", Moved: 12, TimedOut: true, Left: []string{"convex-0"}}),
		onCluster(&PolicyUpdated{Policy: samplePolicy(), Hash: "9f86d081884c7d659a2f"}),
		onCluster(&MovesFrozen{Source: FreezeOperator, Why: "change freeze until Monday"}),
		onCluster(&MovesUnfrozen{Source: FreezeSafety, Why: "3 of 4 nodes renew again"}),
		onCluster(&RebalanceTriggered{Order: "o-reb-1", Reason: ReasonManual, Trigger: TriggerManual, Apps: []string{"web"}, Before: 0.375, After: 0.125, Moves: proposals}),
		onCluster(&RebalanceCompleted{Order: "o-reb-1", Moved: 1, Failed: 1}),

		onCluster(&EvacuationCancelled{Order: "o-evac-1"}),

		{aggregate: Request(Planner), app: "convex", node: "node-3",
			data: &RequestRefused{Request: "app.move", Code: "refused", Detail: "move convex: node-3 refused: label role=storage missing (has role=compute)", Rejections: sampleRejections}},
		onNode(&NodeJoined{Node: "node-2", Inc: "k9-b1-1", Machine: "k9", TTL: spec.Duration(10 * time.Second), Facts: declaring}).as("declared"),
		onCluster(&RebalanceTriggered{Order: "o-reb-2", Reason: ReasonInterval, Trigger: TriggerAutomatic, Apps: []string{}, Before: 0.375, After: 0.125, Moves: proposals,
			StateSeq: 4700, Why: "imbalance 0.38 is above the threshold of 0.20"}).as("automatic"),
		onCluster(&RebalanceCompleted{Order: "o-reb-2", Moved: 1, Stopped: true, Why: "an operator stopped it"}).as("stopped"),
		onNode(&NodeFactsUpdated{Node: "node-2", Facts: declaring}).as("declared"),
		onNode(&NodeJoined{Node: "node-2", Inc: "k9-b1-1", Machine: "k9", TTL: spec.Duration(10 * time.Second), Facts: carryingFacts()}).as("vip"),
		onNode(&NodeFactsUpdated{Node: "node-2", Facts: carryingFacts()}).as("vip"),
		onApp(&HookAnswered{Hook: spec.HookPlacementInvalid, Node: "node-2", About: "130877c455b1d50aee39", TookMS: 30000,
			Result: &HookResult{Code: HookLate, Detail: "OnPlacementInvalid: it did not return in time (30s)", RetryAfter: spec.Duration(time.Minute)}}),
		onApp(&MigrationCompleted{Ref: sampleRef, DurationMS: 2150, Step: StepMigrationComplete, Result: hooked}).as("hook"),
		ordering(&StepCompleted{Ref: sampleRef, Step: StepMigrationStart, Node: "node-1", OrderSeq: 4711, TookMS: 430, Result: hooked, Next: sampleNext}).as("hook"),
		ordering(&StepFailed{Ref: sampleRef, Step: StepMigrationStart, Node: "node-1", OrderSeq: 4711, Code: HookVetoed, Detail: "not ready for migration", Result: hooked, Next: sampleNext}).as("hook"),
		ordering(&LeadershipGranted{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4711, Result: hooked, Next: sampleNext}).as("hook"),
		onApp(&LeadershipReleased{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", Why: ReleasedStopped, OrderSeq: 4715, Result: hooked}).as("hook"),
		ordering(&MigrationStarted{Ref: sampleRef, Kind: KindPlace, Plan: "p-77", SpecRev: 3, Generation: 2, ToInc: "k9-b1-1", Class: ClassRecovery, Next: exact}).as("data"),
		onApp(&MigrationCompleted{Ref: sampleRef, DurationMS: 2150, Step: StepActivate, Result: recovered}).as("data"),
		ordering(&StepRequested{Ref: sampleRef, Why: "no report within its time", Next: exact}).as("data"),
		ordering(&StepCompleted{Ref: sampleRef, Step: StepStepDown, Node: "node-1", OrderSeq: 4711, TookMS: 430, Result: recovered, Next: exact}).as("data"),
		ordering(&StepFailed{Ref: sampleRef, Step: StepApply, Node: "node-2", OrderSeq: 4711, Code: "differs", Detail: "its checksum is another", Result: recovered, Next: exact}).as("data"),
		ordering(&StepTimedOut{Ref: sampleRef, Step: StepApply, Node: "node-2", OrderSeq: 4711, Next: exact}).as("data"),
		ordering(&LeadershipGranted{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4711, Result: recovered, Next: exact, DataLossPossible: true, LossBoundMS: 1250}).as("data"),
		ordering(&LeadershipActivated{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4713, Next: exact}).as("data"),
		onApp(&LeadershipReleased{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", Why: ReleasedStopped, OrderSeq: 4715, Result: recovered}).as("data"),

		onApp(&AppApplied{Spec: sampleApp(), SpecRev: 3, Generation: 2, Declared: "2c26b46b68ffc68ff99b"}).as("declared"),
		onCluster(&PolicyUpdated{Policy: samplePolicy(), Hash: "9f86d081884c7d659a2f", Declared: "2c26b46b68ffc68ff99b"}).as("declared"),

		onApp(&MigrationPlanned{Ref: sampleRef, Move: approved, Holds: holds, Expires: until, PolicyHash: "9f86d081884c7d659a2f"}),
		onApp(&MigrationHeld{Ref: sampleRef, Move: approved, Holds: holds, Until: until, Detail: "cooldown: convex moved at 10:29"}),
		onApp(&MigrationApproved{Ref: sampleRef, Why: "seen by the storage team"}),
		onApp(&MigrationDenied{Ref: sampleRef, Why: "not before the release"}),
		onApp(&MigrationExpired{Ref: sampleRef, Expired: until}),
		onApp(&MigrationCancelled{Ref: sampleRef, Why: "convex-0 may stay where it is"}),
		onCluster(&PlanAdmitted{Plan: "p-77", Moves: []Move{approved}, StateSeq: 4700, PolicyHash: "9f86d081884c7d659a2f", Planner: "1.4.0"}).as("approved"),
		onCluster(&PolicyUpdated{Policy: expiring, Hash: "9f86d081884c7d659a2f"}).as("approval"),
		onNode(&NodeJoined{Node: "node-2", Inc: "k9-b1-1", Machine: "k9", TTL: spec.Duration(10 * time.Second), Facts: slow}).as("approval"),
		onNode(&NodeFactsUpdated{Node: "node-2", Facts: slow}).as("approval"),
		onApp(&AppApplied{Spec: logging, SpecRev: 3, Generation: 2, Declared: "2c26b46b68ffc68ff99b"}).as("log"),
		onNode(&NodeJoined{Node: "node-2", Inc: "k9-b1-1", Machine: "k9", TTL: spec.Duration(10 * time.Second), Facts: inCode}).as("log"),
		onNode(&NodeFactsUpdated{Node: "node-2", Facts: inCode}).as("log"),

		ordering(&MigrationStarted{Ref: sampleRef, Kind: KindPlace, Plan: "p-77", SpecRev: 3, Generation: 2, ToInc: "k9-b1-1", Class: ClassRepair, Role: RoleStandby, Keep: true,
			Next: exact}).as("standby"),
		onCluster(&PlanAdmitted{Plan: "p-77", Moves: []Move{standing}, StateSeq: 4700, PolicyHash: "9f86d081884c7d659a2f", Planner: "1.4.0"}).as("standby"),
		onApp(&MigrationPlanned{Ref: sampleRef, Move: standing, Holds: holds, Expires: until, PolicyHash: "9f86d081884c7d659a2f"}).as("standby"),
		onApp(&MigrationHeld{Ref: sampleRef, Move: standing, Holds: holds, Until: until, Detail: "cooldown: convex moved at 10:29"}).as("standby"),

		onApp(&PlacementInvalid{Instance: "convex-0", Missing: 1, Code: "no_eligible_node", Reason: "none of 4 nodes can take convex-0: 4 label", Rejections: sampleRejections, Nodes: 4,
			Relax: []Relaxation{{Node: "node-3", Codes: []string{RuleLabel}, Detail: "label node-3 role=storage", Commands: []string{"go-cluster node label node-3 role=storage"}}}}).as("relax"),

		ordering(&MigrationStarted{Ref: sampleRef, Kind: KindMove, Plan: "p-77", SpecRev: 3, Generation: 2, FromInc: "k7-b3-4", ToInc: "k9-b1-1", Class: ClassForced, Sync: true,
			Next: sampleNext}).as("sync"),
		ordering(&StepCompleted{Ref: sampleRef, Step: StepSync, Node: "node-1", OrderSeq: 4711, TookMS: 14, Result: storing, Next: exact}).as("sync"),
		ordering(&StepFailed{Ref: sampleRef, Step: StepSync, Node: "node-1", OrderSeq: 4711, Code: "stale_epoch", Detail: "it has ended meanwhile", Result: storing, Next: exact}).as("sync"),
		ordering(&LeadershipGranted{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4711, Result: storing, Next: exact}).as("sync"),
		onApp(&LeadershipReleased{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", Why: ReleasedStopped, OrderSeq: 4715, Result: storing}).as("sync"),
		onApp(&MigrationCompleted{Ref: sampleRef, DurationMS: 2150, Step: StepActivate, Result: storing}).as("sync"),
		onCluster(&PlanAdmitted{Plan: "p-77", Moves: []Move{synchronous}, StateSeq: 4700, PolicyHash: "9f86d081884c7d659a2f", Planner: "1.4.0"}).as("sync"),
		onApp(&MigrationPlanned{Ref: sampleRef, Move: synchronous, Holds: holds, Expires: until, PolicyHash: "9f86d081884c7d659a2f"}).as("sync"),
		onApp(&MigrationHeld{Ref: sampleRef, Move: synchronous, Holds: holds, Until: until, Detail: "cooldown: convex moved at 10:29"}).as("sync"),
		ordering(&LeadershipActivated{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4713, Next: sampleNext, Stored: true}).as("sync"),
		onApp(&MigrationCompleted{Ref: sampleRef, DurationMS: 2150, Step: StepActivate, Result: unseen}).as("unsure"),
		ordering(&StepCompleted{Ref: sampleRef, Step: StepStepDown, Node: "node-1", OrderSeq: 4711, TookMS: 430, Result: unseen, Next: exact}).as("unsure"),
		ordering(&StepFailed{Ref: sampleRef, Step: StepApply, Node: "node-2", OrderSeq: 4711, Code: "differs", Detail: "its checksum is another", Result: unseen, Next: exact}).as("unsure"),
		ordering(&LeadershipGranted{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", OrderSeq: 4711, Result: unseen, Next: exact, DataLossPossible: true, LossBoundMS: 1250}).as("unsure"),
		onApp(&LeadershipReleased{Ref: sampleRef, Epoch: 8, Node: "node-2", Inc: "k9-b1-1", Why: ReleasedStopped, OrderSeq: 4715, Result: unseen}).as("unsure"),

		{aggregate: Audit(Auditor), data: &InvariantViolated{Invariant: "locks", Seq: 4711, Detail: "migration m-5f1d of convex-0 starts while m-5f1c is open"}},
	}
}

func (s sample) as(gained string) sample {
	s.gained = gained
	return s
}

// event makes s an event of revision 42, as Append would.
func (s sample) event() Event {
	t, err := TypeOf(s.data)
	if err != nil {
		panic(err)
	}
	e := Event{
		TS: time.Date(2026, 1, 15, 10, 30, 0, 123456000, time.UTC), Type: t, V: registry[t].Version, App: s.app, Node: s.node, Rev: 42,
		Actor: "cli:ana", Cause: "cmd:01J8ZK5V3N", Correlation: "cmd:01J8ZK0000", Prev: hashOf([]byte("revision 41")), Stream: "QK3ZT7SYMJ6WCPB4V2XLNDH5RA",
		Data: s.data, Aggregate: s.aggregate, Target: s.target,
	}
	e.ID = deriveID(e.Aggregate, e.Rev, e.Type, e.Cause, e.Target)
	return e
}

var prod = Subjects{"prod"}

func (e Event) subject() string { return prod.Event(e.Aggregate, e.Type, e.Target) }
