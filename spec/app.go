package spec

// Mode says how many instances of an app run and how they relate.
type Mode string

// The modes of an app.
const (
	// Singleton is active-passive: at most one active instance, guarded by an epoch.
	Singleton Mode = "singleton"
	// Spread runs one instance on every eligible node.
	Spread Mode = "spread"
	// Replicas runs a fixed number of equal instances, at most one on a node.
	Replicas Mode = "replicas"
	// Ring owns partitions; each partition has at most one owner.
	Ring Mode = "ring"
)

// Where an app's local data lives and whether it may be left behind.
const (
	// DataEphemeral data does not travel and does not hold moves (the default).
	DataEphemeral = "ephemeral"
	// DataLocal data holds automatic moves; manual ones need force; a lost node means Pending.
	DataLocal = "local"
)

// What becomes of a running instance whose hard rules broke while no other node is eligible.
const (
	// OnInvalidStop stops it gracefully and keeps its data (the default).
	OnInvalidStop = "stop"
	// OnInvalidKeep lets it serve on.
	OnInvalidKeep = "keep"
)

// What an instance does when its node cannot renew its lease.
const (
	// OnIsolationStop stops it before the lease deadline (the default of singletons and rings).
	OnIsolationStop = "stop"
	// OnIsolationContinue lets it serve on (the default of pools); for a singleton this means that it is never taken over
	// automatically.
	OnIsolationContinue = "continue"
)

// App is one application as declared: the content of `app apply -f` after decoding. The zero value of an optional field means
// "the default", which WithDefaults fills in.
type App struct {
	Name        string             `json:"name"`
	Mode        Mode               `json:"mode"`
	Replicas    *int               `json:"replicas,omitzero"`   // mode replicas only; 0 runs none
	Partitions  int                `json:"partitions,omitzero"` // mode ring only
	Standbys    int                `json:"standbys,omitzero"`   // mode singleton only: warm standbys besides the active
	Require     []string           `json:"require,omitempty"`   // hard rules, Kubernetes selector grammar; all must hold
	Prefer      []Preference       `json:"prefer,omitempty"`    // soft rules
	OnNodes     []string           `json:"on_nodes,omitempty"`  // hard: only these nodes
	WithApp     []string           `json:"with_app,omitempty"`  // hard: only where these apps run
	AwayFromApp []string           `json:"away_from_app,omitempty"`
	SpreadOver  []SpreadOver       `json:"spread_over,omitempty"`
	Resources   Resources          `json:"resources,omitzero"`
	Process     *Process           `json:"process,omitzero"`
	Ports       map[string]int     `json:"ports,omitempty"` // name → port; 0 lets the agent pick one
	Health      *Health            `json:"health,omitzero"`
	SQLite      string             `json:"sqlite,omitzero"`
	Log         bool               `json:"log,omitzero"` // its data are a write-ahead log; a Go program says so of its own app
	VIP         *VIP               `json:"vip,omitzero"`
	Pool        *Pool              `json:"pool,omitzero"`
	Migration   Migration          `json:"migration,omitzero"`
	Restart     Restart            `json:"restart,omitzero"`
	Ring        *RingOptions       `json:"ring,omitzero"`
	Hooks       map[string]HookRef `json:"hooks,omitempty"`
	Data        string             `json:"data,omitzero"`         // DataEphemeral or DataLocal
	OnInvalid   string             `json:"on_invalid,omitzero"`   // OnInvalidStop or OnInvalidKeep
	OnIsolation string             `json:"on_isolation,omitzero"` // OnIsolationStop or OnIsolationContinue
	MaxUnavail  int                `json:"max_unavailable,omitzero"`
	Labels      map[string]string  `json:"labels,omitempty"` // labels of the app itself, for selecting apps
	Execution
}

// Preference is a soft rule: either a label (`zone=a`) or a node, with a weight of −100…100 (default 50, 0 means the default).
type Preference struct {
	Label  string `json:"label,omitzero"`
	Node   string `json:"node,omitzero"`
	Weight int    `json:"weight,omitzero"`
}

// SpreadOver asks for at most MaxSkew more instances in one value of Label than in another.
type SpreadOver struct {
	Label   string `json:"label"`
	MaxSkew int    `json:"max_skew"`
}

// Resources is what one instance needs of a node.
type Resources struct {
	CPU    CPU   `json:"cpu,omitzero"`
	Memory Bytes `json:"memory,omitzero"`
}

// Process is an ordinary program that the agent runs, without a shell, in a process group of its own.
type Process struct {
	Command     []string          `json:"command"`               // argv; a name without "/" is looked up on the agent's PATH
	Env         map[string]string `json:"env,omitempty"`         // added to the agent's environment (minus NATS_* and GO_CLUSTER_*)
	StopSignal  string            `json:"stop_signal,omitzero"`  // TERM (default), INT, QUIT, HUP, USR1, USR2 or KILL
	StopTimeout Duration          `json:"stop_timeout,omitzero"` // then the whole group is killed; default 30s
	Execution                     // accepted here too; WithDefaults moves it to the app
}

// Execution is under which identity and with which node-local inputs the process runs. In a spec file its keys stand at the top
// level or inside process, each at one of the two places only; WithDefaults moves them to the app.
type Execution struct {
	EnvFile   string            `json:"env_file,omitzero"`    // KEY=VALUE lines, read on the node at each start
	SecretEnv map[string]string `json:"secret_env,omitempty"` // KEY → path of a file on the node that holds the value
	User      string            `json:"user,omitzero"`        // name or uid to run as; only "root" runs as root
	Group     string            `json:"group,omitzero"`       // name or gid; default the user's
	Cwd       string            `json:"cwd,omitzero"`         // default $GC_DATA_DIR
}

// Health is one check, run by the agent against each started instance. Exactly one of HTTP, TCP and Exec is set. A new
// connection is opened for each check.
type Health struct {
	HTTP         string   `json:"http,omitzero"` // URL; healthy is a status of 200…399
	TCP          string   `json:"tcp,omitzero"`  // host:port; healthy when it accepts
	Exec         []string `json:"exec,omitempty"`
	Interval     Duration `json:"interval,omitzero"`      // default 1s; checked more often while it starts
	Timeout      Duration `json:"timeout,omitzero"`       // default 1s
	HealthyAfter int      `json:"healthy_after,omitzero"` // consecutive passes until healthy; default 2
	FailAfter    int      `json:"fail_after,omitzero"`    // consecutive failures until unhealthy; default 3
}

// VIP is an address that follows the active instance.
type VIP struct {
	Address   string `json:"address"` // with prefix length
	Interface string `json:"interface"`
}

// Pool names the load balancer that members are put into and taken out of.
type Pool struct {
	HAProxy string   `json:"haproxy"`
	Nodes   []string `json:"nodes"`
	Backend string   `json:"backend"`
	Port    string   `json:"port"`
}

// Migration tunes how instances of the app move.
type Migration struct {
	DrainTimeout   Duration `json:"drain_timeout,omitzero"`    // default 30s
	MinHealthyTime Duration `json:"min_healthy_time,omitzero"` // a new pool member must be healthy this long; default 0
	StepTimeout    Duration `json:"step_timeout,omitzero"`     // default 1m
	MoveCost       int      `json:"move_cost,omitzero"`        // default 1
	MaxParallel    int      `json:"max_parallel,omitzero"`     // instances of this app that may move at once; default 1
	MinHealthy     int      `json:"min_healthy,omitzero"`
}

// Restart says how often the agent restarts a process that ended by itself, and when it gives up.
type Restart struct {
	Attempts *int     `json:"attempts,omitzero"` // restarts within Within before giving up; default 3
	Within   Duration `json:"within,omitzero"`   // default 1m
	Backoff  Duration `json:"backoff,omitzero"`  // before the first restart, doubling to 30s; default 500ms
}

// RingOptions tunes ring apps.
type RingOptions struct {
	Callbacks string `json:"callbacks,omitzero"`
}

// The hooks of an app.
const (
	HookMigrationStart    = "on_migration_start"    // before an instance moves, on its node; it may refuse
	HookMigrationComplete = "on_migration_complete" // after it has moved, on its new node
	HookPlacementInvalid  = "on_placement_invalid"  // when the app has nowhere to go
)

// HookRef is one hook: of a process app a command or a URL, and neither where the app's program has it.
type HookRef struct {
	Command []string `json:"command,omitempty"`
	URL     string   `json:"url,omitzero"`
	Timeout Duration `json:"timeout,omitzero"` // default 30s
}

// Replicated says whether the app's data are carried along when it moves.
func (a App) Replicated() bool { return a.Replication() != "" }

// The kinds of replication.
const (
	ReplicationSQLite = "sqlite" // a file that is shipped while it is written to
	ReplicationLog    = "log"    // a log of the cluster's: what is acknowledged is stored there
)

// Replication names the kind of replication that the app's data have, "" for none.
func (a App) Replication() string {
	switch {
	case a.Mode != Singleton:
		return ""
	case a.SQLite != "":
		return ReplicationSQLite
	case a.Log:
		return ReplicationLog
	}
	return ""
}

// Shared says of replicated data that every node can have all that was acknowledged, whatever became of the one that wrote it.
func (a App) Shared() bool { return a.Replication() == ReplicationLog }
