package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

const (
	declareTimeout = 10 * time.Second
	declareLongest = 10 * time.Second // between attempts
)

// attend joins with each incarnation that holds the lease and listens to what is addressed to the node, until ctx ends, or until
// what the node declares is refused for good.
func (a *agent) attend(ctx context.Context) error {
	for ctx.Err() == nil {
		inc, changed := a.auth.incarnation()
		if inc == "" {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		during, cancel := context.WithCancel(ctx)
		go func() { // ends with the incarnation, not with a mandate of it
			for {
				now, changed := a.auth.incarnation()
				if now != inc {
					cancel()
					return
				}
				select {
				case <-during.Done():
					return
				case <-changed:
				}
			}
		}()
		err := a.serve(during, inc)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// serve is attend for one incarnation.
func (a *agent) serve(ctx context.Context, inc string) error {
	wait, why := 250*time.Millisecond, ""
	for {
		err := a.join(ctx, inc)
		switch {
		case ctx.Err() != nil:
			return nil
		case api.CodeOf(err) == api.CodeDeclared: // one of its names belongs to others: no repetition changes that
			return err
		case err == nil:
			err = errors.New("wake-ups ended")
		}
		if why != err.Error() {
			why = err.Error()
			a.cfg.Log.Warn("joining again", zap.Error(err))
		}
		if !sleep(ctx, wait) {
			return nil
		}
		wait = min(2*wait, declareLongest)
	}
}

// join declares the node and then has its workers woken up, until ctx ends or that is not possible any more.
func (a *agent) join(ctx context.Context, inc string) error {
	reply, err := a.declare(ctx, inc)
	if err != nil {
		return err
	}
	if !a.hosted.Scanned(inc) {
		if err := a.scan(ctx, reply.Seq); err != nil {
			return err
		}
		if err := a.hosted.MarkScanned(inc); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.session = session{inc: inc, joined: reply.Seq}
	a.mu.Unlock()
	a.cfg.Log.Info("joined", zap.String("inc", inc), zap.Uint64("seq", reply.Seq))
	a.nudgeAll()
	if a.cfg.OnJoin != nil {
		a.cfg.OnJoin()
	}
	return transport.ConsumeWakeups(ctx, a.cfg.Dial, a.subjects, reply.Durable, a.cfg.Log, a.wake)
}

// declare says what the node is. A repetition has an id of its own: what was true then may not be any more.
func (a *agent) declare(ctx context.Context, inc string) (api.DeclareReply, error) {
	ctx, cancel := context.WithTimeout(ctx, declareTimeout)
	defer cancel()
	reply, err := transport.Call[api.DeclareRequest, api.DeclareReply](ctx, a.cfg.NC, a.subjects, api.NodeDeclare, api.DeclareRequest{
		Meta: transport.NewMeta("agent:"+a.cfg.Node, a.cfg.Clock.Now(), declareTimeout),
		Node: a.cfg.Node, Inc: inc, Machine: a.me.Machine, TTL: spec.Duration(a.cfg.TTL), Facts: a.cfg.Facts, Labels: a.cfg.Labels, Epochs: a.epochs.All(),
	})
	if err == nil && (reply.Seq == 0 || reply.Durable == "") {
		err = fmt.Errorf("declare node %s: the labeler's answer has no sequence or no durable: %+v", a.cfg.Node, reply)
	}
	return reply, err
}

// scan wakes workers up for what was addressed to the node since it joined: the durable may be younger than that. It is done once
// for each incarnation; after it, the durable has everything.
func (a *agent) scan(ctx context.Context, joined uint64) error {
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := a.js.Stream(try, a.subjects.EventsStream())
	if err != nil {
		return fmt.Errorf("look for early orders: %w", err)
	}
	last, err := stream.GetLastMsgForSubject(try, a.subjects.Addressed(a.cfg.Node))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence < joined {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for early orders: %w", err)
	}
	done := errors.New("all of them seen")
	err = a.events.Follow(ctx, joined, []string{a.subjects.Addressed(a.cfg.Node)}, func(m events.Message) error {
		if m.Err == nil && m.Event.Aggregate.Kind == events.KindApp {
			if err := a.wake(m.Event.Aggregate.ID, m.Event.Seq); err != nil {
				return err
			}
		}
		if m.Event.Seq >= last.Sequence {
			return done
		}
		return nil
	})
	if errors.Is(err, done) {
		return nil
	}
	return err
}
