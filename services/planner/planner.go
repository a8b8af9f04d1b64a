package planner

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
)

// Service is one planner. Any number may run: what they decide is appended only onto the state it was decided on.
type Service struct{ *services.Core }

// New returns a planner on a Base.
func New(b *services.Base) *Service {
	s := &Service{services.NewCore(b, events.Planner)}
	s.Again = s.again
	return s
}

// Run plans and answers until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(ctx, s.handlers()) })
	g.Go(func() error { return s.plan(ctx) })
	return g.Wait()
}

// plan is the loop: 1. fold (the Replica does), 2. decide, 3. append. A lost race means looking again.
func (s *Service) plan(ctx context.Context) error {
	var done uint64 // the fold that was planned to the end; 0 for none
	var wake time.Time
	var live placement.Live
	sights := s.Seen.ReadSights()
	defer sights.Close()
	var declared declarations
	return s.Loop(ctx, false, func(ctx context.Context) (time.Time, error) {
		now, sure := s.Seen.Now()
		for {
			var (
				todo []decided
				at   uint64
			)
			sights.Each(live.Hear) // while the fold goes on
			s.Look(func(v *projections.Cluster) {
				at = v.Planned
				if at == done && (wake.IsZero() || !sure || now.Before(wake)) {
					return
				}
				if !sure {
					now = v.Time
				}
				plan := live.Plan(v, now)
				todo, wake = decide(v, plan, live.Busy(), &declared, now, sure)
			})
			if len(todo) == 0 {
				done = at
				return wake, nil
			}
			done = 0 // what is lost on its way is due still, and no event says so
			if err := s.store(ctx, todo); errors.Is(err, events.ErrConflict) {
				if err := s.Replica.CatchUp(ctx, 0); err != nil { // with what it met
					return wake, err
				}
			} else if err != nil {
				return wake, err
			}
		}
	})
}

// store appends what was decided, for as long as that is fresh, until one meets a newer event, which is ErrConflict: the rest may still be
// right then, or not, and all is decided again. The fold has what was stored. One that the log refuses holds up none of the others, unless
// places rest on it; one that is lost on its way does, until all are decided anew.
func (s *Service) store(ctx context.Context, todo []decided) error {
	ctx, cancel := context.WithTimeout(ctx, services.Fresh)
	defer cancel()
	var failed error
	for _, d := range todo {
		_, err := s.Append(ctx, d.Draft, d.head)
		switch {
		case errors.Is(err, events.ErrConflict):
			return cmp.Or(failed, err)
		case err != nil && d.Aggregate.Kind == events.KindCluster:
			return errors.Join(failed, err)
		case err != nil:
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
