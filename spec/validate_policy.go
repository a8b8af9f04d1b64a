package spec

import (
	"slices"
	"time"

	_ "time/tzdata" // windows must mean the same on a host without a zone database
)

var weekdays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// MaxRate is the largest count of a rate limit: so many admissions are remembered.
const MaxRate = 100_000

// Validate reports everything that is wrong with the policy, as an *Invalid, or nil.
func (p Policy) Validate() error {
	const longest = 366 * 24 * time.Hour
	var f faults
	m := p.Migration
	checkDuration(&f, "migration.cooldown_period", m.CooldownPeriod, 0, longest)
	if r := m.RateLimit; r != (Rate{}) {
		checkRange(&f, "migration.rate_limit.count", r.Count, 1, MaxRate)
		if r.Window == 0 {
			f.addf("migration.rate_limit.window", "missing: a count needs the window it is counted in, such as 1h")
		}
		checkDuration(&f, "migration.rate_limit.window", r.Window, 0, longest)
	}
	checkDuration(&f, "migration.approval_expiry", m.ApprovalExpiry, time.Minute, longest)
	for i, w := range m.MaintenanceWindows {
		w.check(&f, at("migration.maintenance_windows", i))
	}
	checkRatio(&f, "migration.load_threshold", m.LoadThreshold)
	checkRange(&f, "migration.max_concurrent", m.MaxConcurrent, 0, maxCount)

	r := p.AutoRebalance
	checkDuration(&f, "auto_rebalance.interval", r.Interval, time.Second, longest)
	checkRatio(&f, "auto_rebalance.threshold", r.Threshold)
	checkRange(&f, "auto_rebalance.max_concurrent", r.MaxConcurrent, 0, maxCount)
	checkDuration(&f, "auto_rebalance.cooldown_period", r.CooldownPeriod, 0, longest)
	checkNames(&f, "auto_rebalance.exclude_apps", "app", r.ExcludeApps)
	return f.err()
}

func (w TimeWindow) check(f *faults, field string) {
	checkClock(f, field+".start", w.Start)
	checkClock(f, field+".end", w.End)
	if w.Start == w.End && w.Start != "" {
		f.addf(field, "starts and ends at %s: want two different times", w.Start)
	}
	// "Local" would mean another time on each host.
	if _, err := time.LoadLocation(w.Timezone); err != nil || w.Timezone == "Local" {
		f.addf(field+".timezone", "%s: want an IANA zone such as Europe/Berlin", quoteShort(w.Timezone))
	}
	for i, d := range w.Days {
		if !slices.Contains(weekdays, d) {
			f.addf(at(field+".days", i), "%s: want mon, tue, wed, thu, fri, sat or sun", quoteShort(d))
		} else if slices.Contains(w.Days[:i], d) {
			f.addf(at(field+".days", i), "%s: given twice", d)
		}
	}
}

func checkClock(f *faults, field, s string) {
	// The length is checked because the layout would accept one digit for the hour.
	if _, err := time.Parse("15:04", s); err != nil || len(s) != len("15:04") {
		f.addf(field, "%swant a time of day such as 02:00", orMissing(s))
	}
}

// checkRatio also refuses NaN, which is neither below nor above anything.
func checkRatio(f *faults, field string, v float64) {
	if v != 0 && !(v > 0 && v <= 1) {
		f.addf(field, "%v: want more than 0 and at most 1", v)
	}
}
