package spec

// Policy is the cluster's guardrails and rebalancing rules. The zero value switches everything off except the concurrency
// limit, which WithDefaults sets.
type Policy struct {
	Migration     MigrationPolicy     `json:"migration,omitzero"`
	AutoRebalance AutoRebalancePolicy `json:"auto_rebalance,omitzero"`
}

// MigrationPolicy is the guardrails for moves. A zero field is off.
type MigrationPolicy struct {
	CooldownPeriod     Duration     `json:"cooldown_period,omitzero"`      // least time between two migrations of one app
	RateLimit          Rate         `json:"rate_limit,omitzero"`           // most migrations in any window of this length
	RequireApproval    bool         `json:"require_approval,omitzero"`     // automatic moves wait for an operator
	ApprovalExpiry     Duration     `json:"approval_expiry,omitzero"`      // how long a proposal waits, and its approval holds; default 24h
	MaintenanceWindows []TimeWindow `json:"maintenance_windows,omitempty"` // automatic moves start only inside one of these
	LoadThreshold      float64      `json:"load_threshold,omitzero"`       // 0…1: no move to a node above it
	MaxConcurrent      int          `json:"max_concurrent,omitzero"`       // moves in flight in the cluster; default 4
}

// Rate is a count in a sliding window.
type Rate struct {
	Count  int      `json:"count"`
	Window Duration `json:"window"`
}

// TimeWindow is a daily span of wall-clock time in a zone; an End before Start crosses midnight.
type TimeWindow struct {
	Start    string   `json:"start"`             // "02:00"
	End      string   `json:"end"`               // "06:00"
	Timezone string   `json:"timezone,omitzero"` // IANA name; default UTC
	Days     []string `json:"days,omitempty"`    // mon … sun; none means every day
}

// AutoRebalancePolicy says when the rebalancer acts by itself.
type AutoRebalancePolicy struct {
	Enabled        bool     `json:"enabled,omitzero"`
	Interval       Duration `json:"interval,omitzero"`
	Threshold      float64  `json:"threshold,omitzero"`
	MaxConcurrent  int      `json:"max_concurrent,omitzero"`
	CooldownPeriod Duration `json:"cooldown_period,omitzero"`
	ExcludeApps    []string `json:"exclude_apps,omitempty"`
}
