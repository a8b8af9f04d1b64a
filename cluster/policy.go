package cluster

import (
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// MigrationPolicy is the guardrails for moves. A zero field is off.
type MigrationPolicy struct {
	CooldownPeriod     time.Duration // least time between two migrations of one app
	RateLimit          Rate          // most migrations in any window of this length
	RequireApproval    bool          // automatic moves wait for an operator
	MaintenanceWindows []TimeWindow  // automatic moves begin only inside one of these
	LoadThreshold      float64       // 0…1: no move to a node that is busier
	MaxConcurrent      int           // moves under way in the cluster; 4 unless set
}

// Rate is a count in a sliding window.
type Rate struct {
	Count  int
	Window time.Duration
}

// TimeWindow is a daily span of time in a zone; an End before Start crosses midnight.
type TimeWindow struct {
	Start    string   // "02:00"
	End      string   // "06:00"
	Timezone string   // IANA name; UTC unless set
	Days     []string // mon … sun; none means every day
}

// AutoRebalanceConfig says when instances are evened out without being asked for.
type AutoRebalanceConfig struct {
	Enabled        bool
	Interval       time.Duration
	Threshold      float64 // imbalance above which something is done: 0.2 is 20 %
	MaxConcurrent  int
	CooldownPeriod time.Duration
	ExcludeApps    []string
}

// WithMigrationPolicy declares the cluster's guardrails. Programs and people share one policy: with this option or
// WithAutoRebalance a program declares all of it. Of several declarations that one is in force which was seen first latest, and what
// a person sets stays until something new is declared.
func WithMigrationPolicy(m MigrationPolicy) Option {
	return func(p *Platform) {
		windows := make([]spec.TimeWindow, len(m.MaintenanceWindows))
		for i, w := range m.MaintenanceWindows {
			windows[i] = spec.TimeWindow{Start: w.Start, End: w.End, Timezone: w.Timezone, Days: w.Days}
		}
		if len(windows) == 0 {
			windows = nil
		}
		p.declared().Migration = spec.MigrationPolicy{
			CooldownPeriod: spec.Duration(m.CooldownPeriod), RateLimit: spec.Rate{Count: m.RateLimit.Count, Window: spec.Duration(m.RateLimit.Window)},
			RequireApproval: m.RequireApproval, MaintenanceWindows: windows, LoadThreshold: m.LoadThreshold, MaxConcurrent: m.MaxConcurrent,
		}
	}
}

// WithAutoRebalance declares when instances are evened out by themselves; see WithMigrationPolicy.
func WithAutoRebalance(c AutoRebalanceConfig) Option {
	return func(p *Platform) {
		p.declared().AutoRebalance = spec.AutoRebalancePolicy{Enabled: c.Enabled, Interval: spec.Duration(c.Interval), Threshold: c.Threshold,
			MaxConcurrent: c.MaxConcurrent, CooldownPeriod: spec.Duration(c.CooldownPeriod), ExcludeApps: c.ExcludeApps}
	}
}

func (p *Platform) declared() *spec.Policy {
	if p.policy == nil {
		p.policy = &spec.Policy{}
	}
	return p.policy
}
