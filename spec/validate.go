package spec

import (
	"maps"
	"slices"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
)

// MaxSpecBytes limits one app spec: a file that is read, and the JSON of an app that travels in an event.
const MaxSpecBytes = 64 << 10

const (
	maxStandbys = 16   // each is a whole copy of the data
	maxCount    = 1000 // instances, and other small counts that nobody means to exceed
	longestWait = 24 * time.Hour
)

var modes = []Mode{Singleton, Spread, Replicas, Ring}

// Validate reports everything that is wrong with the app, as an *Invalid, or nil. It holds for an app as written and for one
// with defaults alike. Keys whose part is not built yet are valid; see Unsupported.
func (a App) Validate() error {
	f := a.faults()
	return f.err()
}

// ValidateApplied is Validate for an app that comes from a file: nothing registers its code, so it needs a process.
func (a App) ValidateApplied() error {
	f := a.faults()
	if a.Process == nil {
		f.addf("process", "missing: an applied app needs process.command")
	}
	if a.Log {
		f.addf("log", "only an app inside a Go program has one, and its program says so")
	}
	return f.err()
}

// ValidateDeclared is Validate for an app whose code is part of a program: what only a process has is refused.
func (a App) ValidateDeclared() error {
	f := a.faults()
	for key, given := range map[string]bool{"process": a.Process != nil, "health": a.Health != nil, "ports": len(a.Ports) > 0} {
		if given {
			f.addf(key, "only an app with a process has it")
		}
	}
	return f.err()
}

func (a App) faults() faults {
	var f faults
	f.check("name", ValidateName("app", a.Name))
	a.checkMode(&f)
	a.checkRules(&f)
	a.checkProcess(&f)
	a.checkPorts(&f)
	a.checkHealth(&f)
	a.checkLifecycle(&f)
	a.checkParts(&f)
	a.checkVariables(&f)
	a.checkSQLite(&f)
	a.checkLog(&f)
	if a.Resources.CPU < 0 {
		f.addf("resources.cpu", "%s: must not be negative", a.Resources.CPU)
	}
	if a.Resources.Memory < 0 {
		f.addf("resources.memory", "%s: must not be negative", a.Resources.Memory)
	}
	checkLabels(&f, a.Labels)
	if b, err := json.Marshal(a); err != nil {
		f.addf("", "the app cannot be written as JSON: %v", err)
	} else if len(b) > MaxSpecBytes {
		f.addf("", "the app takes %d bytes as JSON: want at most %d", len(b), MaxSpecBytes)
	}
	return f
}

func (a App) checkMode(f *faults) {
	if !slices.Contains(modes, a.Mode) {
		f.addf("mode", "%swant singleton, spread, replicas or ring", orMissing(string(a.Mode)))
		return // which of the keys below belong is unknown
	}
	switch {
	case a.Mode == Replicas && a.Replicas == nil:
		f.addf("replicas", "missing: mode replicas needs a number, 0 to %d", maxCount)
	case a.Mode == Replicas:
		checkRange(f, "replicas", *a.Replicas, 0, maxCount)
	case a.Replicas != nil:
		f.addf("replicas", "only mode replicas has it, and the mode is %s", a.Mode)
	}
	switch {
	case a.Mode == Ring:
		checkRange(f, "partitions", a.Partitions, 1, 65536)
	case a.Partitions != 0:
		f.addf("partitions", "only mode ring has it, and the mode is %s", a.Mode)
	}
	switch {
	case a.Mode == Singleton:
		checkRange(f, "standbys", a.Standbys, 0, maxStandbys)
		if a.Standbys > 0 && a.Process != nil && !a.Replicated() {
			f.addf("standbys", "a standby follows the app's data, and none are replicated: name its database with sqlite")
		}
	case a.Standbys != 0:
		f.addf("standbys", "only mode singleton has it, and the mode is %s", a.Mode)
	}
	if a.Ring != nil && a.Mode != Ring {
		f.addf("ring", "only mode ring has it, and the mode is %s", a.Mode)
	}
}

func (a App) checkRules(f *faults) {
	for i, s := range a.Require {
		_, err := ParseSelector(s)
		f.check(at("require", i), err)
	}
	for i, p := range a.Prefer {
		p.check(f, at("prefer", i))
	}
	checkNames(f, "on_nodes", "node", a.OnNodes)
	checkNames(f, "with_app", "app", a.WithApp)
	checkNames(f, "away_from_app", "app", a.AwayFromApp)
	for i, name := range a.WithApp {
		if name == a.Name {
			f.addf(at("with_app", i), "%s: an app cannot follow itself", name)
		}
	}
	for i, name := range a.AwayFromApp {
		switch {
		case name == a.Name:
			f.addf(at("away_from_app", i), "%s: an app has at most one instance on a node anyway", name)
		case slices.Contains(a.WithApp, name):
			f.addf(at("away_from_app", i), "%s: also in with_app, so no node is eligible", name)
		}
	}
	for i, s := range a.SpreadOver {
		f.check(at("spread_over", i)+".label", ValidateLabelKey(s.Label))
		checkRange(f, at("spread_over", i)+".max_skew", s.MaxSkew, 1, maxCount)
	}
}

func (p Preference) check(f *faults, field string) {
	switch {
	case p.Label == "" && p.Node == "":
		f.addf(field, "want a label or a node")
	case p.Label != "" && p.Node != "":
		f.addf(field, "has both a label and a node: write two preferences")
	case p.Node != "":
		f.check(field+".node", ValidateName("node", p.Node))
	default:
		key, value, found := strings.Cut(p.Label, "=")
		if !found {
			f.addf(field+".label", "%s: want key=value", quoteShort(p.Label))
		} else if err := ValidateLabelKey(key); err != nil {
			f.check(field+".label", err)
		} else {
			f.check(field+".label", ValidateLabelValue(key, value))
		}
	}
	checkRange(f, field+".weight", p.Weight, -100, 100)
}

func (a App) checkLifecycle(f *faults) {
	checkChoice(f, "data", a.Data, DataEphemeral, DataLocal)
	checkChoice(f, "on_invalid", a.OnInvalid, OnInvalidStop, OnInvalidKeep)
	checkChoice(f, "on_isolation", a.OnIsolation, OnIsolationStop, OnIsolationContinue)
	checkRange(f, "max_unavailable", a.MaxUnavail, 0, maxCount)

	checkDuration(f, "migration.drain_timeout", a.Migration.DrainTimeout, 0, longestWait)
	checkDuration(f, "migration.min_healthy_time", a.Migration.MinHealthyTime, 0, longestWait)
	checkDuration(f, "migration.step_timeout", a.Migration.StepTimeout, 0, longestWait)
	checkRange(f, "migration.move_cost", a.Migration.MoveCost, 0, maxCount)
	checkRange(f, "migration.max_parallel", a.Migration.MaxParallel, 0, maxCount)
	checkRange(f, "migration.min_healthy", a.Migration.MinHealthy, 0, maxCount)
	if a.Migration.MinHealthy > 0 && a.Mode == Singleton {
		f.addf("migration.min_healthy", "a singleton is away while it moves: want none")
	}

	if a.Restart.Attempts != nil {
		checkRange(f, "restart.attempts", *a.Restart.Attempts, 0, maxCount)
	}
	checkDuration(f, "restart.within", a.Restart.Within, 0, longestWait)
	checkDuration(f, "restart.backoff", a.Restart.Backoff, 0, 30*time.Second)
}

func checkLabels(f *faults, labels map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if err := ValidateLabelKey(k); err != nil {
			f.check("labels", err)
			continue
		}
		f.check(member("labels", k), ValidateLabelValue(k, labels[k]))
		if ReservedLabel(k) {
			f.addf(member("labels", k), "the prefix %s is reserved for the cluster", ReservedLabelPrefix)
		}
	}
	if len(labels) > MaxLabels {
		f.addf("labels", "%d labels: want at most %d", len(labels), MaxLabels)
	}
}

func checkNames(f *faults, field, kind string, names []string) {
	for i, name := range names {
		f.check(at(field, i), ValidateName(kind, name))
		if slices.Contains(names[:i], name) {
			f.addf(at(field, i), "%s: given twice", quoteShort(name))
		}
	}
}

func checkRange(f *faults, field string, v, low, high int) {
	if v < low || v > high {
		f.addf(field, "%d: want %d to %d", v, low, high)
	}
}

func checkDuration(f *faults, field string, v Duration, low, high time.Duration) {
	if v != 0 && (v.D() < low || v.D() > high) {
		f.addf(field, "%s: want %s to %s", v, low, high)
	}
}

// checkChoice lets the empty string pass, because it means the default.
func checkChoice(f *faults, field, v string, choices ...string) {
	if v != "" && !slices.Contains(choices, v) {
		f.addf(field, "%s: want one of %s", quoteShort(v), strings.Join(choices, ", "))
	}
}

func orMissing(v string) string {
	if v == "" {
		return "missing: "
	}
	return quoteShort(v) + ": "
}
