package spec

import (
	"cmp"
	"time"
)

// WithDefaults returns the app with every default filled in and the execution keys moved from the process to the app, where
// all readers look for them. It is idempotent. The result shares maps and slices with a; neither may be modified afterwards.
func (a App) WithDefaults() App {
	a.Data = cmp.Or(a.Data, DataEphemeral)
	a.OnInvalid = cmp.Or(a.OnInvalid, OnInvalidStop)
	isolation := OnIsolationContinue
	if a.Mode == Singleton || a.Mode == Ring {
		isolation = OnIsolationStop
	}
	a.OnIsolation = cmp.Or(a.OnIsolation, isolation)
	if len(a.Prefer) > 0 {
		prefer := make([]Preference, len(a.Prefer))
		for i, p := range a.Prefer {
			p.Weight = cmp.Or(p.Weight, 50)
			prefer[i] = p
		}
		a.Prefer = prefer
	}
	if a.Process != nil {
		p := *a.Process
		a.Execution = a.Execution.orElse(p.Execution)
		p.Execution = Execution{}
		p.StopSignal = cmp.Or(p.StopSignal, "TERM")
		p.StopTimeout = cmp.Or(p.StopTimeout, Duration(30*time.Second))
		a.Process = &p
	}
	if a.Health != nil {
		h := *a.Health
		h.Interval = cmp.Or(h.Interval, Duration(time.Second))
		h.Timeout = cmp.Or(h.Timeout, Duration(time.Second))
		h.HealthyAfter = cmp.Or(h.HealthyAfter, 2)
		h.FailAfter = cmp.Or(h.FailAfter, 3)
		a.Health = &h
	}
	if len(a.Hooks) > 0 {
		hooks := make(map[string]HookRef, len(a.Hooks))
		for name, h := range a.Hooks {
			h.Timeout = cmp.Or(h.Timeout, Duration(30*time.Second))
			hooks[name] = h
		}
		a.Hooks = hooks
	}
	m := &a.Migration
	m.DrainTimeout = cmp.Or(m.DrainTimeout, Duration(30*time.Second))
	m.StepTimeout = cmp.Or(m.StepTimeout, Duration(time.Minute))
	m.MoveCost = cmp.Or(m.MoveCost, 1)
	m.MaxParallel = cmp.Or(m.MaxParallel, 1)
	if a.Restart.Attempts == nil {
		a.Restart.Attempts = new(3)
	}
	a.Restart.Within = cmp.Or(a.Restart.Within, Duration(time.Minute))
	a.Restart.Backoff = cmp.Or(a.Restart.Backoff, Duration(500*time.Millisecond))
	return a
}

// orElse takes each key from e, or else from o.
func (e Execution) orElse(o Execution) Execution {
	e.EnvFile = cmp.Or(e.EnvFile, o.EnvFile)
	e.User = cmp.Or(e.User, o.User)
	e.Group = cmp.Or(e.Group, o.Group)
	e.Cwd = cmp.Or(e.Cwd, o.Cwd)
	if len(e.SecretEnv) == 0 {
		e.SecretEnv = o.SecretEnv
	}
	return e
}

// WithDefaults returns the policy with the one guardrail that is on by default and with UTC for windows without a zone. It is
// idempotent.
func (p Policy) WithDefaults() Policy {
	p.Migration.MaxConcurrent = cmp.Or(p.Migration.MaxConcurrent, 4)
	if len(p.Migration.MaintenanceWindows) > 0 {
		windows := make([]TimeWindow, len(p.Migration.MaintenanceWindows))
		for i, w := range p.Migration.MaintenanceWindows {
			w.Timezone = cmp.Or(w.Timezone, "UTC")
			windows[i] = w
		}
		p.Migration.MaintenanceWindows = windows
	}
	return p
}
