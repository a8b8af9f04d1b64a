package labeler

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// Service is one labeler. Any number may run: each beats and judges for itself, and of two that write the same only one does.
type Service struct {
	*services.Core
	pulse pulse
	watch watch // of the loop alone
}

// New returns a labeler on a Base.
func New(b *services.Base) *Service {
	return &Service{Core: services.NewCore(b, events.Labeler), watch: newWatch()}
}

// Run beats, judges and answers until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	s.pulse.disturbed(s.Boot())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(ctx, s.handlers()) })
	g.Go(func() error { return s.beat(ctx) })
	g.Go(func() error { return s.Loop(ctx, true, s.pass) })
	return g.Wait()
}

func (s *Service) handlers() map[api.Endpoint]transport.Handler {
	return map[api.Endpoint]transport.Handler{
		api.NodeDeclare: s.declare, api.NodeLabel: s.label, api.NodeCordon: s.cordon, api.NodeUncordon: s.uncordon,
		api.NodeLost: s.confirmLost, api.NodeRemove: s.remove, api.NodeList: s.list, api.NodeShow: s.show,
	}
}

// watch is what the loop remembers from pass to pass.
type watch struct {
	closings  map[string]Closing
	displaced map[string]Displacement
	mass      bool          // more than half were silent in the last pass
	frozen    bool          // the freeze of the present episode has been in the fold
	lifted    bool          // and was lifted by somebody else
	calm      time.Duration // when the last episode ended
}

func newWatch() watch {
	return watch{closings: map[string]Closing{}, displaced: map[string]Displacement{}}
}

// episode keeps up with the safety freeze, and says whether that changes what is to be judged. Who sees the freeze gone while the
// silence lasts takes it for an operator's word, and does not freeze again before the silence is over: otherwise two replicas that
// see different things would take turns for ever.
func (w *watch) episode(mass, frozen bool, now time.Duration) (judgeAgain bool) {
	before := *w
	switch {
	case !mass:
		if w.mass && w.frozen {
			w.calm = now
		}
		w.frozen, w.lifted = frozen, false
	case frozen:
		w.frozen, w.lifted = true, false
	case w.frozen:
		w.lifted = true
	}
	w.mass = mass
	return w.calm != before.calm || w.lifted != before.lifted
}

// judge looks at a sight, and once more when that ends or begins an episode.
func (w *watch) judge(v *projections.Cluster, s Sight) Judgement {
	s.Closings, s.Displaced, s.Lifted, s.Calm = w.closings, w.displacements(v, s), w.lifted, w.calm
	j := Judge(v, s)
	_, frozen := v.Frozen[events.FreezeSafety]
	if w.episode(j.Mass, frozen, s.Now) {
		s.Lifted, s.Calm = w.lifted, w.calm
		j = Judge(v, s)
	}
	return j
}

// pass is one turn of the loop: fold and leases in, verdicts carried out.
func (s *Service) pass(ctx context.Context) (time.Time, error) {
	sight := Sight{Pulse: s.pulse.get(), Now: s.Boot(), Leases: s.Seen.All()}
	var j Judgement
	s.Look(func(v *projections.Cluster) { j = s.watch.judge(v, sight) })
	var errs []error
	for _, d := range j.Verdicts {
		if err := s.carryOut(ctx, d); err != nil { // it keeps no other node waiting
			errs = append(errs, err)
		}
	}
	return s.wake(sight.Now, j.Due), errors.Join(errs...)
}

// wake turns a time on CLOCK_BOOTTIME into one on the cluster's clock; the loop looks again soon while that is unsure.
func (s *Service) wake(now, due time.Duration) time.Time {
	if due == 0 {
		return time.Time{}
	}
	clock, _ := s.Seen.Now()
	return clock.Add(due - now)
}
