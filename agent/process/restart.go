//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

const longestBackoff = 30 * time.Second

// counted returns the restarts that the policy still counts at now, and whether it allows one more, after which delay.
func counted(restarts []time.Time, now time.Time, p spec.Restart) (recent []time.Time, delay time.Duration, again bool) {
	for _, t := range restarts {
		if now.Sub(t) < p.Within.D() {
			recent = append(recent, t)
		}
	}
	if len(recent) >= *p.Attempts {
		return recent, 0, false
	}
	delay = p.Backoff.D()
	for range recent {
		if delay = 2 * delay; delay >= longestBackoff {
			break
		}
	}
	return recent, min(delay, longestBackoff), true
}

// ended settles the end of the run, with op held. exit is nil where the watchdog was killed and nobody knows more.
func (d *Driver) ended(in *instance, exit *watchdog.Exit) {
	d.change(in, func() {
		if in.run != nil {
			in.run.checked()
		}
		in.run = nil
	})
	d.keepPorts(in)
	what, code := "killed together with its watchdog", (*int)(nil)
	if exit != nil {
		what, code = exit.String(), new(exit.ExitCode())
	}
	log := d.opts.Logger.With(zap.String("instance", in.id))
	switch {
	case !in.rec.Want:
		log.Info("instance stopped", zap.String("exit", what))
		d.settle(in, agent.StateStopped, what, code)
	case exit != nil && exit.Fenced:
		log.Warn("instance " + what)
		d.settle(in, agent.StateStopped, what, code)
	default:
		log.Warn("instance ended by itself", zap.String("exit", what))
		d.again(in, what+d.lastOutput(in), code)
	}
}

// again plans the next restart, or gives up, with op held and nothing running.
func (d *Driver) again(in *instance, why string, code *int) {
	p := in.rec.Instance.App.Restart
	recent, delay, ok := counted(in.rec.Restarts, d.opts.Now(), p)
	if !ok {
		d.settle(in, agent.StateFailed, fmt.Sprintf("%s; given up after %d restarts within %s", why, len(recent), p.Within), code)
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.change(in, func() {
		in.rec.Restarts = recent
		in.retry = cancel
		in.rest(agent.StateStarting, fmt.Sprintf("%s; restart %d of %d in %s", why, len(recent)+1, *p.Attempts, delay), code)
	})
	d.background(func() { d.retry(ctx, in, delay) })
}

// cancelRetry reports whether a restart was pending; it will not happen then. op is held.
func (d *Driver) cancelRetry(in *instance) bool {
	if in.retry == nil {
		return false
	}
	d.change(in, func() {
		in.retry()
		in.retry = nil
	})
	return true
}

// retry restarts the instance after the delay, unless ctx ends before.
func (d *Driver) retry(ctx context.Context, in *instance, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	for d.fenced(in) {
		_, ahead, moved := d.leased()
		if ahead {
			break
		}
		d.change(in, func() {
			if ctx.Err() == nil {
				in.status.Detail = strings.TrimSuffix(in.status.Detail, waiting) + waiting
			}
		})
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
	if d.acquire(ctx, in) != nil {
		return
	}
	defer in.release()
	if ctx.Err() != nil { // cancelled by somebody who held op
		return
	}
	d.cancelRetry(in)
	d.change(in, func() {
		in.rec.Restarts = append(slices.Clip(in.rec.Restarts), d.opts.Now())
		in.rec.Restarted++
	})
	err := in.save() // first: attempts that kill the agent count too
	if err == nil {
		_, err = d.run(d.ctx, in)
	}
	if err != nil && !errors.Is(err, errClosed) {
		d.keepPorts(in)
		d.again(in, fmt.Sprintf("not restarted: %v", err), in.status.ExitCode)
	}
}

const waiting = "; waiting for the node's lease"

func (d *Driver) fenced(in *instance) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return in.rec.Instance.Fenced
}

// lastOutput quotes the end of the log, where programs say why they end.
func (d *Driver) lastOutput(in *instance) string {
	const lines, most = 3, 300
	data, err := tail(filepath.Join(in.dir, watchdog.LogDir), lines)
	text := strings.ToValidUTF8(strings.TrimSpace(string(data)), "?")
	if err != nil || text == "" {
		return ""
	}
	if len(text) > most {
		text = "…" + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return fmt.Sprintf(" (last output: %q)", text)
}
