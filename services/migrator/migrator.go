package migrator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// Service is the migrator of one process. Any number of them work on one cluster: each decision is stored only on the state that
// it was made on.
type Service struct {
	*services.Core
	Reg   prometheus.Registerer // of the report counters; nil: counted nowhere. Set before Run
	quiet quiet                 // of the loop alone

	noise map[string]bool // of the loop alone: apps to look at, besides those of which something changes
	until sight           // where the loop was when it last looked

	ledger placement.Ledger // of whoever looks at the fold
}

// New returns the migrator of a Base, whose Run must run beside it.
func New(b *services.Base) *Service {
	return &Service{Core: services.NewCore(b, events.Migrator), quiet: quiet{}}
}

// judge returns placement.Judge of v, which may not be let go of meanwhile.
func (s *Service) judge(v *projections.Cluster) judge {
	return func(m *projections.Migration) []events.Rejection { return s.ledger.Judge(v, m) }
}

// Run runs the migrator of b until ctx ends.
func Run(ctx context.Context, b *services.Base) error { return New(b).Run(ctx) }

const (
	// reporters is how many reports are judged at once. One is delivered, decided, stored and acknowledged in turn, so that alone it
	// would have every move of the cluster wait for every other's disk; of two about the same app one decides again.
	reporters = 4
	// writers is how many events of one pass are under way at once. They are of different apps, and none knows of the others.
	writers = 16
	// turns is how many decisions a pass makes at most: the fold stands still while they are made. Which apps wait for the next
	// pass is left to chance, so that all get there.
	turns = 64
)

// Run decides until ctx ends. It has no endpoints, and is listed with the other services all the same.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(ctx, nil) })
	g.Go(func() error { return s.Loop(ctx, true, s.pass) })
	for range reporters {
		g.Go(func() error { return transport.ConsumeReports(ctx, s.Dial, s.Subjects, s.Log, s.report, s.Reg) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// decided is a decision and the state that it was made on.
type decided struct {
	draft *events.Draft
	head  events.Head
}

// pass decides once for each app: at most one event, since the next would have to be decided on a state with the first. Storing
// wakes the loop again.
func (s *Service) pass(ctx context.Context) (wake time.Time, err error) {
	now, sure := s.Seen.Now()
	leases := s.Seen.All()
	var todo []decided
	s.Look(func(v *projections.Cluster) {
		judge, at := s.judge(v), sightOf(v, leases)
		for name := range s.noisy(v, leases, at) {
			if len(todo) == turns {
				break // storing these wakes the loop
			}
			a := v.Apps[name]
			agg := events.App(name)
			if _, bad := v.Quarantined[agg]; bad {
				continue
			}
			d, due := nextOf(v, a, now, sure, judge)
			if d == nil && !s.quiet.still(v, a, leases, at) {
				if d = observe(v, a, leases, now, sure); d == nil {
					s.quiet.note(v, a, at)
				}
			}
			if d == nil && len(a.Open) == 0 && ledFromHere(a) {
				delete(s.noise, name)
			}
			if d != nil {
				todo = append(todo, decided{d, v.Head(agg)})
			}
			if !due.IsZero() && (wake.IsZero() || due.Before(wake)) {
				wake = due
			}
		}
	})
	// A lost race, or a failure, holds up none of the others.
	var (
		g                errgroup.Group
		mu               sync.Mutex
		conflict, failed error
	)
	g.SetLimit(writers)
	try, cancel := context.WithTimeout(ctx, services.Fresh)
	defer cancel()
	for _, t := range todo {
		g.Go(func() error {
			_, err := s.Append(try, *t.draft, t.head)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, events.ErrConflict):
				conflict = err
			case err != nil:
				failed = errors.Join(failed, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	if failed != nil {
		return wake, failed
	}
	return wake, conflict
}

// nextOf makes the first decision that is due among the open migrations of an app, and says when the next one is.
func nextOf(v *projections.Cluster, a *projections.App, now time.Time, sure bool, judge judge) (*events.Draft, time.Time) {
	var wake time.Time
	for _, m := range a.SortedOpen() {
		d, due := next(v, m, Input{}, now, sure, judge)
		if d != nil {
			return d, time.Time{}
		}
		if !due.IsZero() && (wake.IsZero() || due.Before(wake)) {
			wake = due
		}
	}
	return nil, wake
}
