package spec

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func decodeOne(t *testing.T, in string) App {
	t.Helper()
	apps, err := DecodeApps([]byte(in))
	if err != nil {
		t.Fatalf("%s: %v", in, err)
	}
	return apps[0]
}

func TestValidate(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"{name: a, mode: singleton}", nil},
		{"{name: a, mode: replicas, replicas: 0}", nil},
		{"{}", []string{
			`mode: missing: want singleton, spread, replicas or ring`,
			`name: app name "": want 1 to 63 characters a-z, 0-9 and "-", starting and ending with a letter or digit`,
		}},
		{"{name: a, mode: pool}", []string{`mode: "pool": want singleton, spread, replicas or ring`}},
		{"{name: a, mode: replicas}", []string{"replicas: missing: mode replicas needs a number, 0 to 1000"}},
		{"{name: a, mode: replicas, replicas: 1001, partitions: 3, standbys: 1, ring: {}}", []string{
			"partitions: only mode ring has it, and the mode is replicas",
			"replicas: 1001: want 0 to 1000",
			"ring: only mode ring has it, and the mode is replicas",
			"standbys: only mode singleton has it, and the mode is replicas",
		}},
		{"{name: a, mode: singleton, standbys: 2, sqlite: $GC_DATA_DIR/a.db, process: {command: [x]}}", nil},
		{"{name: a, mode: singleton, standbys: 17}", []string{"standbys: 17: want 0 to 16"}},
		{"{name: a, mode: singleton, standbys: 1, process: {command: [x]}}", []string{
			"standbys: a standby follows the app's data, and none are replicated: name its database with sqlite",
		}},
		{"{name: a, mode: ring}", []string{"partitions: 0: want 1 to 65536"}},
		{"{name: a, mode: singleton, require: [b, 'c in'], prefer: [{}, {label: x}, {label: a=b, node: n1, weight: 101}, {node: N1}]}", []string{
			`prefer[0]: want a label or a node`,
			`prefer[1].label: "x": want key=value`,
			`prefer[2].weight: 101: want -100 to 100`,
			`prefer[2]: has both a label and a node: write two preferences`,
			`prefer[3].node: node name "N1": want 1 to 63 characters a-z, 0-9 and "-", starting and ending with a letter or digit`,
			`require[1]: selector "c in": position 5: want "(" after in, found the end`,
		}},
		{"{name: a, mode: singleton, on_nodes: [n1, n1], with_app: [a, b], away_from_app: [a, b]}", []string{
			`away_from_app[0]: a: an app has at most one instance on a node anyway`,
			`away_from_app[1]: b: also in with_app, so no node is eligible`,
			`on_nodes[1]: "n1": given twice`,
			`with_app[0]: a: an app cannot follow itself`,
		}},
		{"{name: a, mode: singleton, ports: {http: 70000, A: 1, b-c: 0, b_c: 0}}", []string{
			`ports.A: want a name of 1 to 31 characters a-z, 0-9, "-" and "_", starting with a letter`,
			`ports.b_c: gives the same variable $GC_PORT_B_C as port b-c`,
			`ports.http: 70000: want 0 to 65535`,
		}},
		{"{name: a, mode: singleton, health: {http: 'localhost:80/x', tcp: x, interval: 1ms, timeout: 2m, fail_after: -1}}", []string{
			`health: has 2 of http, tcp and exec: want exactly one`,
			`health.fail_after: -1: want 0 to 1000`,
			`health.http: "localhost:80/x": want a URL such as http://127.0.0.1:$GC_PORT_HTTP/health`,
			`health.interval: 1ms: want 10ms to 1h0m0s`,
			`health.tcp: "x": want host:port`,
			`health.timeout: 2m0s: want 1ms to 1m0s`,
		}},
		{"{name: a, mode: singleton, health: {tcp: '$GC_ADDRESS:${GC_PORT_X}'}, ports: {x: 0}}", nil},
		{"{name: a, mode: singleton, sqlite: $GC_DATA_DIR/a.db}", nil},
		{"{name: a, mode: singleton, sqlite: '${GC_DATA_DIR}/a.db'}", nil},
		{"{name: a, mode: singleton, sqlite: /etc/passwd}", []string{`sqlite: "/etc/passwd": want a file in the data directory, such as $GC_DATA_DIR/app.db`}},
		{"{name: a, mode: singleton, sqlite: $GC_DATA_DIR/../a.db}", []string{`sqlite: "$GC_DATA_DIR/../a.db": want a file in the data directory, such as $GC_DATA_DIR/app.db`}},
		{"{name: a, mode: singleton, sqlite: $GC_DATA_DIR/..}", []string{`sqlite: "$GC_DATA_DIR/..": want a file in the data directory, such as $GC_DATA_DIR/app.db`}},
		{"{name: a, mode: singleton, log: true}", nil},
		{"{name: a, mode: spread, log: true}", []string{`log: only a singleton has one writer, and its mode is spread`}},
		{"{name: a, mode: singleton, log: true, sqlite: $GC_DATA_DIR/a.db}", []string{`log: its data are in one place, and it has sqlite`}},
		{"{name: a, mode: spread, sqlite: $GC_DATA_DIR/a.db}", []string{`sqlite: only an app of mode singleton has one, since only one of its instances writes at a time`}},
		{"{name: a, mode: singleton, data: far, on_invalid: x, on_isolation: z, restart: {backoff: 31s, attempts: -1}, max_unavailable: -1}", []string{
			`data: "far": want one of ephemeral, local`,
			`max_unavailable: -1: want 0 to 1000`,
			`on_invalid: "x": want one of stop, keep`,
			`on_isolation: "z": want one of stop, continue`,
			`restart.attempts: -1: want 0 to 1000`,
			`restart.backoff: 31s: want 0s to 30s`,
		}},
		{"{name: a, mode: singleton, user: u, cwd: x, process: {user: v, stop_signal: SIGTERM, stop_timeout: 25h, env: {GC_X: a, 1a: b, S: c}, secret_env: {S: /s, T: s}}}", []string{
			`cwd: "x": want an absolute path`,
			`process.command: missing: want the program and its arguments as a list`,
			`process.env.1a: want a name of letters, digits and "_", not starting with a digit`,
			`process.env.GC_X: names that start with GC_ are set by the agent`,
			`process.env.S: also in secret_env: keep one of the two`,
			`process.secret_env.T: "s": want an absolute path`,
			`process.stop_signal: "SIGTERM": want one of TERM, INT, QUIT, HUP, USR1, USR2, KILL`,
			`process.stop_timeout: 25h0m0s: want 0s to 24h0m0s`,
			`process.user: also given at the top level: keep one of the two`,
		}},
		{"{name: a, mode: singleton, user: 'a:b', cwd: $GC_DATA_DIR/x}", []string{
			`cwd: "$GC_DATA_DIR/x": want an absolute path; variables are not expanded here`,
			`cwd: only an app with a process has it`,
			`user: "a:b": want the name or number of an account of the node`,
			`user: only an app with a process has it`,
		}},
		{"{name: a, mode: singleton, ports: {http: 0}, process: {command: [x, $GC_PORT_HTP, $GC_PORT_DATABASE, '${GC_APP:-x}', $HOME, $$GC_NOPE], env: {A: $GC_NODES}}}", []string{
			`process.command[1]: unknown variable $GC_PORT_HTP (did you mean $GC_PORT_HTTP?)`,
			`process.command[2]: unknown variable $GC_PORT_DATABASE (no such port under ports)`,
			`process.command[3]: variable "${GC_APP:-x}": want ${NAME} with nothing else between the braces`,
			`process.env.A: unknown variable $GC_NODES (did you mean $GC_NODE?)`,
		}},
		{"{name: a, mode: singleton, labels: {team: x y, 'b c': d, go-cluster.io/host: h}}", []string{
			`labels.go-cluster.io/host: the prefix go-cluster.io/ is reserved for the cluster`,
			`labels.team: label team="x y": want a value of at most 63 letters, digits, "-", "_" and ".", starting and ending with a letter or digit`,
			`labels: label key "b c": want 1 to 63 letters, digits, "-", "_" and ".", starting and ending with a letter or digit`,
		}},
		{"{name: a, mode: singleton, vip: {address: 10.0.1.255/24, interface: eth0}}", []string{"vip.address: 10.0.1.255/24: is the broadcast address of its network: want one of a host"}},
		{"{name: a, mode: singleton, vip: {address: 10.0.1.0/24, interface: eth0}}", []string{"vip.address: 10.0.1.0/24: is the address of its network: want one of a host"}},
		{"{name: a, mode: singleton, vip: {address: 10.0.1.0/31, interface: eth0}}", nil},
		{"{name: a, mode: singleton, vip: {address: 10.0.0.1}, pool: {port: web}, process: {command: [x]}, hooks: {after: {url: x}, on_migration_start: {url: x}, on_migration_complete: {}}, spread_over: [{label: zone}]}", []string{
			`hooks.after: want one of on_migration_start, on_migration_complete, on_placement_invalid`,
			`hooks.on_migration_complete.command: missing: want the program and its arguments as a list`,
			`hooks.on_migration_start.url: "x": want an http or https URL`,
			`pool.backend: missing: want the name of a backend`,
			`pool.haproxy: missing: want the runtime socket such as unix:/run/haproxy.sock`,
			`pool.nodes: missing: want the nodes whose agents own the socket`,
			`pool.port: "web": want the name of a port under ports`,
			`spread_over[0].max_skew: 0: want 1 to 1000`,
			`vip.address: "10.0.0.1": want an address with its prefix length such as 10.0.1.100/24`,
			`vip.interface: missing: want the name of a network interface`,
		}},
	}
	for _, tt := range tests {
		got := faultsOf(t, decodeOne(t, tt.in).Validate())
		if diff := cmp.Diff(tt.want, got, cmp.Transformer("sort", sortedSet)); diff != "" {
			t.Errorf("%s: %s", tt.in, diff)
		}
	}
}

// sortedSet makes the expectations independent of how the text of a fault sorts against its field.
func sortedSet(in []string) map[string]int {
	out := map[string]int{}
	for _, s := range in {
		out[s]++
	}
	return out
}

func TestValidateOrderAndSize(t *testing.T) {
	a := App{Name: "a", Mode: Singleton, Resources: Resources{CPU: -1, Memory: -1}, MaxUnavail: -1}
	a.Process = &Process{Command: []string{"x", strings.Repeat("y", MaxSpecBytes)}, StopTimeout: -1}
	const want = `the app takes 65681 bytes as JSON: want at most 65536; max_unavailable: -1: want 0 to 1000; ` +
		`process.stop_timeout: -1ns: want 0s to 24h0m0s; resources.cpu: -1m: must not be negative; resources.memory: -1: must not be negative`
	if got := a.Validate(); got == nil || got.Error() != want {
		t.Errorf("got %v", got)
	}
	a = App{Name: "a", Mode: Singleton, Process: &Process{Command: []string{"\xff"}}}
	if got := a.Validate(); got == nil || !strings.Contains(got.Error(), "cannot be written as JSON") {
		t.Errorf("text that is not UTF-8: %v", got)
	}
	a = App{Name: "a", Mode: Singleton}
	if got := faultsOf(t, a.ValidateApplied()); len(got) != 1 || got[0] != "process: missing: an applied app needs process.command" {
		t.Errorf("got %v", got)
	}
}

func TestUnsupported(t *testing.T) {
	a := decodeOne(t, `{name: a, mode: ring, partitions: 8, data: local, ring: {callbacks: x}, migration: {min_healthy: 1}}`)
	want := []Fault{
		{"data", "local is not supported by this version"},
		{"mode", "ring is not supported by this version"},
		{"partitions", notSupported},
		{"ring", notSupported},
	}
	if diff := cmp.Diff(want, a.Unsupported()); diff != "" {
		t.Error(diff)
	}
	a = decodeOne(t, `{name: a, mode: replicas, replicas: 2, require: [x], prefer: [{node: n1}], on_nodes: [n1], away_from_app: [b], with_app: [c], spread_over: [{label: zone, max_skew: 1}],
		resources: {cpu: 1}, process: {command: [x], cwd: /x}, ports: {p: 1}, health: {exec: [x]}, restart: {attempts: 0}, env_file: /e,
		migration: {drain_timeout: 1s, min_healthy_time: 1s, step_timeout: 1s, move_cost: 2, max_parallel: 2}, on_invalid: keep,
		on_isolation: stop, labels: {a: b}, secret_env: {A: /a}, user: u, group: g, max_unavailable: 1, data: ephemeral}`)
	if err := a.ValidateApplied(); err != nil {
		t.Error(err)
	}
	if got := a.Unsupported(); len(got) != 0 {
		t.Errorf("supported keys are refused: %v", got)
	}
}

func TestDefaults(t *testing.T) {
	in := decodeOne(t, `{name: a, mode: replicas, replicas: 2, prefer: [{node: n1}, {node: m, weight: -5}], health: {tcp: "x:1"},
		process: {command: [x], user: u, secret_env: {A: /a}}, cwd: /c}`)
	got := in.WithDefaults()
	sec := func(n int) Duration { return Duration(time.Duration(n) * time.Second) }
	want := App{
		Name: "a", Mode: Replicas, Replicas: new(2),
		Prefer:    []Preference{{Node: "n1", Weight: 50}, {Node: "m", Weight: -5}},
		Health:    &Health{TCP: "x:1", Interval: sec(1), Timeout: sec(1), HealthyAfter: 2, FailAfter: 3},
		Process:   &Process{Command: []string{"x"}, StopSignal: "TERM", StopTimeout: sec(30)},
		Migration: Migration{DrainTimeout: sec(30), StepTimeout: sec(60), MoveCost: 1, MaxParallel: 1},
		Restart:   Restart{Attempts: new(3), Within: sec(60), Backoff: Duration(500 * time.Millisecond)},
		Data:      DataEphemeral, OnInvalid: OnInvalidStop, OnIsolation: OnIsolationContinue,
		Execution: Execution{User: "u", Cwd: "/c", SecretEnv: map[string]string{"A": "/a"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if in.Process.User != "u" || in.Health.Interval != 0 || in.Prefer[0].Weight != 0 {
		t.Error("WithDefaults modified its receiver")
	}
	if (App{Mode: Singleton}).WithDefaults().OnIsolation != OnIsolationStop {
		t.Error("a singleton must stop when isolated")
	}
}

func TestPolicyValidate(t *testing.T) {
	p := Policy{
		Migration: MigrationPolicy{
			CooldownPeriod: -1, RateLimit: Rate{Count: 3}, LoadThreshold: 1.1, MaxConcurrent: -1,
			MaintenanceWindows: []TimeWindow{
				{Start: "2:00", End: "24:00", Timezone: "Mars/Base", Days: []string{"mon", "Tue", "mon"}},
				{Start: "03:00", End: "03:00", Timezone: "Local"},
				{Start: "22:00", End: "02:00"},
			},
		},
		AutoRebalance: AutoRebalancePolicy{Interval: 1, Threshold: -0.1, ExcludeApps: []string{"A"}},
	}
	want := []string{
		`auto_rebalance.exclude_apps[0]: app name "A": want 1 to 63 characters a-z, 0-9 and "-", starting and ending with a letter or digit`,
		`auto_rebalance.interval: 1ns: want 1s to 8784h0m0s`,
		`auto_rebalance.threshold: -0.1: want more than 0 and at most 1`,
		`migration.cooldown_period: -1ns: want 0s to 8784h0m0s`,
		`migration.load_threshold: 1.1: want more than 0 and at most 1`,
		`migration.maintenance_windows[0].days[1]: "Tue": want mon, tue, wed, thu, fri, sat or sun`,
		`migration.maintenance_windows[0].days[2]: mon: given twice`,
		`migration.maintenance_windows[0].end: "24:00": want a time of day such as 02:00`,
		`migration.maintenance_windows[0].start: "2:00": want a time of day such as 02:00`,
		`migration.maintenance_windows[0].timezone: "Mars/Base": want an IANA zone such as Europe/Berlin`,
		`migration.maintenance_windows[1]: starts and ends at 03:00: want two different times`,
		`migration.maintenance_windows[1].timezone: "Local": want an IANA zone such as Europe/Berlin`,
		`migration.max_concurrent: -1: want 0 to 1000`,
		`migration.rate_limit.window: missing: a count needs the window it is counted in, such as 1h`,
	}
	if diff := cmp.Diff(want, faultsOf(t, p.Validate())); diff != "" {
		t.Error(diff)
	}
	p = Policy{Migration: MigrationPolicy{RateLimit: Rate{Window: 1}, MaintenanceWindows: []TimeWindow{{Start: "22:00", End: "02:00"}}}}
	if got := faultsOf(t, p.Validate()); len(got) != 1 || got[0] != "migration.rate_limit.count: 0: want 1 to 100000" {
		t.Errorf("got %v", got)
	}
	if d := p.WithDefaults(); d.Migration.MaintenanceWindows[0].Timezone != "UTC" || p.Migration.MaintenanceWindows[0].Timezone != "" {
		t.Error("the zone's default is missing or was written into the receiver")
	}
}
