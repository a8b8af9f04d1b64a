//go:build linux

package watchdog

// Launch is one start of an app. Env may hold secrets: a launch travels through a pipe only.
type Launch struct {
	Path       string      `json:"path"` // of the program; relative to Dir where it is not absolute
	Args       []string    `json:"args"` // argv, with the program's name
	Env        [][]byte    `json:"env"`  // KEY=VALUE; bytes, because values need not be UTF-8
	Dir        string      `json:"dir"`  // working directory
	Credential *Credential `json:"credential,omitzero"`
	Fence      *Fence      `json:"fence,omitzero"` // nil for an app that outlives its agent
	Log        LogLimits   `json:"log,omitzero"`
}

// Credential is the identity of the app; without one it has that of the agent.
type Credential struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups"` // supplementary
}

// Fence says when the app is killed.
type Fence struct {
	File       string `json:"file"`        // where the agent extends the deadline; see OpenDeadline
	DeadlineNS int64  `json:"deadline_ns"` // CLOCK_BOOTTIME in nanoseconds; the deadline at least
}

// waits is what a watchdog sends once it waits for its launch.
const waits = '\n'

// report is the watchdog's answer to a launch.
type report struct {
	State State  `json:"state,omitzero"`
	Error string `json:"error,omitzero"` // why the app does not run
}
