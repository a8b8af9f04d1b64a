package planner

import (
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
func New(b *services.Base) *Service { return &Service{services.NewCore(b, events.Planner)} }

// Run plans and answers until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(ctx, s.handlers()) })
	g.Go(func() error { return s.plan(ctx) })
	return g.Wait()
}

// plan is the loop: 1. fold (the Replica does), 2. decide, 3. append. A lost race means looking again.
func (s *Service) plan(ctx context.Context) error {
	var done uint64 // the fold that was planned to the end
	var wake time.Time
	return s.Loop(ctx, false, func(ctx context.Context) (time.Time, error) {
		now, sure := s.Seen.Now()
		for {
			var (
				todo []decided
				at   uint64
			)
			s.Replica.View(func(v *projections.Cluster) {
				at = v.Planned
				if at == done && (wake.IsZero() || !sure || now.Before(wake)) {
					return
				}
				if !sure {
					now = v.Time
				}
				todo, wake = decide(v, placement.Make(v, s.Seen.Loads(), now), now, sure)
			})
			if len(todo) == 0 {
				done = at
				return wake, nil
			}
			for _, d := range todo {
				if _, err := s.Append(ctx, d.Draft, d.head); errors.Is(err, events.ErrConflict) {
					break // decide again on the newer state; the rest may still be right, or not
				} else if err != nil {
					return wake, err
				}
			}
			if err := s.Replica.CatchUp(ctx, 0); err != nil {
				return wake, err
			}
		}
	})
}
