package agent

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// Pauses of the keeper.
const (
	renewApart = 200 * time.Millisecond // at least, between renewals because of a change
	renewRetry = 500 * time.Millisecond // after a renewal without an acknowledgement
	leaseLook  = time.Second            // at a lease that is not ours to write yet
)

// keeper holds the node's lease: it alone writes it. It is used by one goroutine.
type keeper struct {
	cfg     Config
	me      identity
	leases  *transport.Leases
	fence   *fence
	payload func(*api.Lease) // fills in what a held lease says besides who holds it
	kick    <-chan struct{}  // something in the payload has changed
	log     *zap.Logger

	tenure tenure
	tried  time.Duration // when the last renewal was sent
	failed bool          // it was not acknowledged
}

// run holds the lease until ctx ends, which is no error. Its error names who else is this node; everything has been stopped then.
func (k *keeper) run(ctx context.Context) error {
	for {
		if err := k.acquire(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if k.hold(ctx); ctx.Err() != nil {
			switch {
			case k.cfg.LeaveOnExit && k.leave(context.WithoutCancel(ctx)):
			case k.cfg.StopAppsOnExit:
				// The lease is what the control plane goes by until the next agent: it is to say that all was stopped on purpose.
				k.renew(context.WithoutCancel(ctx))
			}
			return nil
		}
		k.fence.auth.lose()
	}
}

// leave ends the incarnation: nothing of it runs any more, so that nobody need wait for its lease. It returns false when that is not
// known to be stored.
func (k *keeper) leave(ctx context.Context) bool {
	for _, st := range k.fence.driver.List() {
		if lives(st.State) {
			return false
		}
	}
	try, cancel := context.WithTimeout(ctx, k.cfg.Renew)
	defer cancel()
	k.fence.auth.lose() // first: nothing is begun under it any more
	for seq := k.tenure.seq; ; {
		_, err := k.leases.Put(try, k.lease(api.LeaseYielded, k.tenure.inc, k.tenure.n), seq)
		if !errors.Is(err, transport.ErrLeaseMoved) {
			return err == nil
		}
		// A renewal was under way when ctx ended: it may have been stored, and nobody waited for the answer.
		rec, exists, err := k.leases.Get(try, k.cfg.Node)
		if err != nil || !exists || rec.Seq == seq || rec.Lease.State != api.LeaseHeld || rec.Lease.Inc != k.tenure.inc {
			return false
		}
		seq = rec.Seq
	}
}

// acquire returns nil when the lease is held.
func (k *keeper) acquire(ctx context.Context) error {
	why := ""
	say := func(s string, fields ...zap.Field) {
		if s != why {
			k.log.Info(s, fields...)
		}
		why = s
	}
	for {
		wait, err := k.advance(ctx, say)
		switch {
		case err == nil && wait == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// advance does the next thing about a lease that is not held. It returns 0 when the lease is held, else how long to wait.
func (k *keeper) advance(ctx context.Context, say func(string, ...zap.Field)) (time.Duration, error) {
	try, cancel := context.WithTimeout(ctx, k.cfg.Renew)
	defer cancel()
	rec, exists, err := k.leases.Get(try, k.cfg.Node)
	if err != nil {
		say("the node's lease cannot be read", zap.Error(err))
		return renewRetry, nil
	}
	step := nextLeaseStep(k.me, rec.Lease, exists)
	switch step.do {
	case leaseWait:
		say("waiting for the node's lease: " + step.why)
		return leaseLook, nil
	case leaseRefuse:
		if err := k.fence.stopAll(ctx); err != nil { // what runs here is of an incarnation that is over
			return 0, err
		}
		return 0, errors.New(step.why)
	case leaseYield, leaseBegin:
		if err := k.fence.stopAll(ctx); err != nil {
			return 0, err
		}
	}
	// Only now: with no lease yet the deadline is that of whatever an earlier agent left running.
	if err := k.fence.enforce(); err != nil {
		say("past the lease's deadline, and something still runs", zap.Error(err))
		return fenceRetry, nil
	}
	if step.do == leaseYield {
		lease := k.lease(api.LeaseYielded, step.inc, step.n)
		put, cancel := context.WithTimeout(ctx, k.cfg.Renew)
		defer cancel()
		if _, err := k.leases.Put(put, lease, rec.Seq); err != nil {
			say("the closed lease is not yielded yet", zap.Error(err))
			return renewRetry, nil
		}
		k.log.Info("everything is stopped, the closed lease is yielded", zap.String("inc", step.inc))
		return renewApart, nil
	}
	if step.do == leaseBegin { // the end of the incarnation before ended its epochs
		if err := k.fence.ended.Drop(func(api.FencedEpoch) bool { return true }); err != nil {
			say("a new incarnation cannot begin", zap.Error(err))
			return leaseLook, nil
		}
	}
	put, cancelPut := context.WithTimeout(ctx, k.cfg.Renew)
	defer cancelPut()
	lease := k.lease(api.LeaseHeld, step.inc, step.n)
	sent := k.cfg.Clock.Boot()
	seq, err := k.leases.Put(put, lease, rec.Seq)
	if err != nil { // whether it was stored shows when it is read again
		say("the node's lease is not written yet", zap.Error(err))
		return renewRetry, nil
	}
	k.tenure = tenure{inc: step.inc, n: step.n}
	k.tenure.renewed(seq, sent)
	k.tried, k.failed = sent, false
	k.log.Info("the node's lease is held", zap.String("inc", step.inc), zap.Uint64("lease_seq", seq))
	if err := k.granted(); err != nil {
		return fenceRetry, nil
	}
	return 0, nil
}

// hold renews the lease until it is not ours any more or ctx ends.
func (k *keeper) hold(ctx context.Context) {
	for k.pause(ctx) && k.renew(ctx) {
	}
}

// pause waits until the next renewal is due. It returns false when ctx has ended.
func (k *keeper) pause(ctx context.Context) bool {
	due := k.tried + k.cfg.Renew
	if k.failed {
		due = k.tried + min(renewRetry, k.cfg.Renew/2)
	}
	kick := k.kick
	for {
		timer := time.NewTimer(due - k.cfg.Clock.Boot())
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
			return true
		case <-kick:
			timer.Stop()
			due, kick = min(due, k.tried+renewApart), nil
		}
	}
}

// renew writes the lease once more. It returns false when somebody else has written it.
func (k *keeper) renew(ctx context.Context) bool {
	if err := k.fence.enforce(); err != nil {
		k.log.Error("not renewed: past the deadline, and something still runs", zap.Error(err))
		k.tried, k.failed = k.cfg.Clock.Boot(), true
		return true
	}
	try, cancel := context.WithTimeout(ctx, k.cfg.Renew)
	defer cancel()
	lease := k.lease(api.LeaseHeld, k.tenure.inc, k.tenure.n)
	sent := k.cfg.Clock.Boot()
	complain := k.log.Warn
	if k.failed { // once for each outage
		complain = k.log.Debug
	}
	k.tried, k.failed = sent, true
	seq, err := k.leases.Put(try, lease, k.tenure.seq)
	switch {
	case err == nil:
		k.tenure.renewed(seq, sent)
	case errors.Is(err, transport.ErrLeaseMoved):
		rec, exists, read := k.leases.Get(try, k.cfg.Node)
		if read != nil {
			complain("the lease has moved and cannot be read", zap.Error(read))
			return true
		}
		if !k.tenure.moved(rec.Lease, exists, rec.Seq) {
			k.log.Warn("the lease is not ours any more", zap.String("state", rec.Lease.State), zap.String("inc", rec.Lease.Inc), zap.Uint64("lease_seq", rec.Seq))
			return false
		}
	case errors.Is(err, transport.ErrLeaseUnknown):
		k.tenure.unknown(sent)
		if ctx.Err() == nil {
			complain("lease not renewed", zap.Error(err))
		}
		return true
	default:
		complain("lease not renewed", zap.Error(err))
		return true
	}
	k.failed = k.granted() != nil
	return true
}

// granted makes the tenure's deadline count.
func (k *keeper) granted() error {
	err := k.fence.extend(k.tenure.inc, k.tenure.deadline(k.cfg.TTL, k.cfg.Margin))
	if err != nil {
		k.log.Error("lease renewed, but past the deadline before something still runs", zap.Error(err))
	}
	return err
}

func (k *keeper) lease(state, inc string, n uint64) api.Lease {
	l := api.Lease{State: state, Node: k.cfg.Node, Inc: inc, Machine: k.me.Machine, Boot: k.me.Boot, N: n, TTL: spec.Duration(k.cfg.TTL), Host: k.cfg.Host}
	if state == api.LeaseHeld {
		k.payload(&l)
		fit(&l)
	}
	return l
}

// describe fills in what the lease says of the node. What it says is true at a time when the log had at least LogSeq: a sequence
// is read first. An instance that the log had reported running by then was running when the driver was asked.
func (a *agent) describe(l *api.Lease) {
	l.LogSeq = a.folded.Load()
	l.Load = a.cfg.Load()
	if a.leaving.Load() {
		l.LogSeq, l.Instances, l.Fenced = a.shown.LogSeq, a.shown.Instances, a.shown.Fenced
		return
	}
	for _, st := range a.cfg.Driver.List() {
		l.Instances = append(l.Instances, api.InstanceHealth{
			Data: a.data.state(st.ID),
			ID:   st.ID, App: st.App, State: string(st.State), Healthy: st.Healthy, Epoch: st.Epoch, Generation: st.Generation,
			Restarts: st.Restarts, Detail: shorten(st.Detail), Ports: st.Ports,
		})
	}
	l.Lost = a.lost.All()
	defer func() { a.shown = *l }()
	l.Fenced = a.ended.All() // last: what is shown above as ended by ourselves is listed
}

// fit leaves out what instances say for people where a lease would be too large with it: one that cannot be renewed would end them all.
func fit(l *api.Lease) {
	for _, most := range []int{100, 0} {
		if b, err := json.Marshal(*l); err != nil || len(b) <= api.LeaseMax {
			return
		}
		for i := range l.Instances {
			in := &l.Instances[i]
			in.Detail = cut(in.Detail, most)
			if in.Data != nil && in.Data.Error != "" {
				in.Data = new(*in.Data)
				in.Data.Error = cut(in.Data.Error, most)
			}
		}
	}
}

// shorten makes a program's own words fit for a message: of bounded length, and text.
func shorten(s string) string { return cut(s, 400) }

func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
