package cluster

import (
	"context"
	"errors"
	"os/user"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// requestLimit bounds one request and its reply.
const requestLimit = 5 * time.Second

// conn returns the connection of the platform's calls, and makes it where there is none.
func (p *Platform) conn(ctx context.Context) (*nats.Conn, error) {
	if err := p.fit(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	nc := p.nc
	p.mu.Unlock()
	if nc != nil && !nc.IsClosed() {
		return nc, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	fresh, err := p.connect(ctx, p.actor())
	if err != nil {
		return nil, api.Refuse(api.CodeUnavailable, "platform %s: %v", p.cluster, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nc != nil && !p.nc.IsClosed() { // another call was faster
		fresh.Close()
		return p.nc, nil
	}
	p.nc = fresh
	return fresh, nil
}

// actor is who the cluster's log says asked.
func (p *Platform) actor() string {
	if p.node != "" {
		return "go:" + p.node
	}
	name := "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return "go:" + strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, name)
}

// command is the Meta of a request that may change something.
func (p *Platform) command() api.Meta {
	return transport.NewMeta(p.actor(), time.Now(), 2*requestLimit)
}

// question is the Meta of one that changes nothing. Its answer has seen everything that earlier calls have heard of.
func (p *Platform) question() api.Meta { return api.Meta{MinSeq: p.seen.Load(), Actor: p.actor()} }

func (p *Platform) saw(seq uint64) {
	for {
		old := p.seen.Load()
		if seq <= old || p.seen.CompareAndSwap(old, seq) {
			return
		}
	}
}

// call asks the control plane. The error is an *Error.
func call[Req, Rep any](ctx context.Context, p *Platform, e api.Endpoint, req Req) (Rep, error) {
	var none Rep
	nc, err := p.conn(ctx)
	if err != nil {
		return none, err
	}
	limit, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	rep, err := transport.Call[Req, Rep](limit, nc, p.subjects, e, req)
	return rep, typed(err, api.CodeUnavailable)
}

// wait looks at a standing order until it has ended, or only waits for a place.
func (p *Platform) wait(ctx context.Context, what, order string, seq uint64) (api.OrderReply, error) {
	p.saw(seq)
	next := seq + 1
	for {
		rep, err := call[api.OrderRequest, api.OrderReply](ctx, p, api.OrderStatus, api.OrderRequest{Meta: p.question(), Order: order})
		switch {
		case ctx.Err() != nil:
			return rep, p.gaveUp(ctx, what)
		case errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTimeout): // it goes on, and is asked again
		case err != nil:
			return rep, err
		case rep.State != api.OrderOpen || stuck(rep):
			p.saw(rep.Seq)
			return rep, verdict(what, rep)
		default:
			p.saw(rep.Seq)
		}
		// The next event may be the one that ends it.
		log, err := call[api.EventListRequest, api.EventListReply](ctx, p, api.EventList,
			api.EventListRequest{Meta: api.Meta{Actor: p.actor()}, SinceSeq: next, Limit: 500, Wait: spec.Duration(time.Second)})
		if err == nil {
			next = max(next, log.NextSeq)
			continue
		}
		timer := time.NewTimer(requestLimit / 10)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (p *Platform) gaveUp(ctx context.Context, what string) error {
	return api.Refuse(api.CodeTimeout, "%s: no longer waited for, the work goes on: %v", what, context.Cause(ctx))
}

// stuck says whether an order that is open has nothing under way: what is left has nowhere to go.
func stuck(o api.OrderReply) bool {
	if len(o.Left) == 0 || len(o.Stuck) < len(o.Left) {
		return false
	}
	for _, m := range o.Migrations {
		switch m.Status {
		case api.MigrationCompleted, api.MigrationFailed, api.MigrationCancelled:
		default:
			return false
		}
	}
	return true
}

// verdict is the error of an order that has ended, or only waits.
func verdict(what string, o api.OrderReply) error {
	switch o.State {
	case api.OrderOpen:
		e := api.Refuse(api.CodePending, "%s: %s has nowhere to go, and stays where it is until there is a place", what, strings.Join(o.Left, ", "))
		for _, s := range o.Stuck {
			e.Rejections = append(e.Rejections, s.Rejections...)
		}
		return e
	case api.OrderCancelled:
		return api.Refuse(api.CodeCancelled, "%s: it was called off", what)
	case api.OrderFailed:
		if o.Kind != "migration" {
			return api.Refuse(api.CodeTimeout, "%s: its time was up; left: %s", what, strings.Join(o.Left, ", "))
		}
	}
	for _, m := range o.Migrations {
		if m.Status == api.MigrationFailed || m.Status == api.MigrationCancelled {
			code := api.CodeFailed
			switch m.Code {
			case events.HookVetoed, events.HookLate, events.HookPanicked, events.HookBroken:
				code = api.CodeVetoed
			}
			if m.Status == api.MigrationCancelled {
				code = api.CodeCancelled
			}
			return api.Refuse(code, "%s: migration %s of %s: %s", what, m.ID, m.Instance, m.Detail)
		}
	}
	return nil
}
