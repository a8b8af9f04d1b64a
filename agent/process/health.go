//go:build linux

package process

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
)

// verdict turns single checks into healthy or not: it changes only after so many equal results in a row.
type verdict struct {
	healthyAfter, failAfter int
	passes, failures        int
	healthy                 bool
	told                    bool // that it has failed too often, in this row
}

// add takes the result of one check and reports whether the verdict changed.
func (v *verdict) add(pass bool) bool {
	if pass {
		v.passes, v.failures, v.told = v.passes+1, 0, false
		if !v.healthy && v.passes >= v.healthyAfter {
			v.healthy = true
			return true
		}
		return false
	}
	v.passes, v.failures = 0, v.failures+1
	if v.healthy && v.failures >= v.failAfter {
		v.healthy = false
		return true
	}
	return false
}

// A program that has just started is checked at once and then more often until it first is healthy: nobody is served meanwhile, and
// waiting for whole intervals would be most of the pause of a move. What a check finds late is an eighth of what the start has taken.
const (
	startupFirst = 2 * time.Millisecond
	startupMost  = 100 * time.Millisecond
	startupTime  = 10 * time.Second
)

// monitor checks the run's health until ctx ends; op is held.
func (d *Driver) monitor(ctx context.Context, in *instance, r *run) {
	h := *in.rec.Instance.App.Health
	c, err := d.check(in, h)
	if err != nil {
		c = check{name: "health", run: func(context.Context) error { return err }}
	}
	d.background(func() {
		v := &verdict{healthyAfter: h.HealthyAfter, failAfter: h.FailAfter}
		interval := h.Interval.D()
		began, starting, due := time.Now(), true, time.Time{}
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			err := c.once(ctx, h.Timeout.D())
			if ctx.Err() != nil {
				return
			}
			now := time.Now()
			taken := now.Sub(began)
			// Failures of a program that is starting are as many as there were checks: they say something after the usual time.
			early := starting && taken < time.Duration(h.FailAfter-1)*interval && taken < startupTime
			if v.add(err == nil) || err != nil && !early && v.failures >= v.failAfter && !v.told {
				v.told = err != nil
				d.judge(in, r, c.name, v, err)
			}
			if starting = starting && !v.healthy && taken < startupTime; starting {
				timer.Reset(min(max(taken/8, startupFirst), startupMost, interval))
				continue
			}
			if due = due.Add(interval); due.Before(now) { // the first, or late
				due = now.Add(interval)
			}
			timer.Reset(due.Sub(now))
		}
	})
}

// judge puts a verdict into the status, unless the run is over or is being ended.
func (d *Driver) judge(in *instance, r *run, name string, v *verdict, failure error) {
	taken := false
	d.change(in, func() {
		if in.run != r || in.status.State == agent.StateStopping {
			return
		}
		taken = true
		if v.healthy {
			in.status.State, in.status.Healthy, in.status.Detail = agent.StateRunning, true, ""
			return
		}
		in.status.State, in.status.Healthy = agent.StateStarting, false
		in.status.Detail = fmt.Sprintf("unhealthy: %s: %v (%d failures in a row)", name, failure, v.failures)
	})
	if taken {
		d.opts.Logger.Info("health", zap.String("instance", in.id), zap.Bool("healthy", v.healthy), zap.NamedError("failure", failure))
	}
}
