package auditor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// Service is one auditor. Any number may run.
type Service struct {
	*services.Core
	tail  *tail
	laws  *laws           // nil: not held against them
	read  atomic.Bool     // the tail has reached what was the log's end at the start
	known map[string]bool // quarantines already told; of the loop alone
}

// Option is a choice of a deployment.
type Option func(*Service)

// Memory sets how many of the newest events are held in memory, 50,000 by default; older ones are read from the stream when asked
// for. At times it is twice as many.
func Memory(events int) Option { return func(s *Service) { s.tail = newTail(max(events, 1)) } }

// New returns an auditor on a Base.
func New(b *services.Base, opts ...Option) *Service {
	s := &Service{Core: services.NewCore(b, events.Auditor), tail: newTail(keepEvents), laws: newLaws(), known: map[string]bool{}}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Run follows the log and answers until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(ctx) })
	g.Go(func() error {
		return s.Serve(ctx, map[api.Endpoint]transport.Handler{api.EventList: s.listEvents, api.AuditList: s.listAudit})
	})
	g.Go(func() error { return s.Loop(ctx, false, s.pass) })
	return g.Wait()
}

// Ready says why the service cannot answer yet, or nil.
func (s *Service) Ready() error {
	if err := s.Core.Ready(); err != nil {
		return err
	}
	if !s.read.Load() {
		return fmt.Errorf("%s: not at the end of the log yet", s.Name)
	}
	return nil
}

// Detail returns one sentence for each aggregate that nothing is appended to any more, because what is stored of it is malformed
// or does not continue its hash chain. The service is ready all the same.
func (s *Service) Detail() []string {
	out := []string{}
	s.Replica.View(func(v *projections.Cluster) {
		for a, why := range v.Quarantined {
			out = append(out, fmt.Sprintf("%s is quarantined: %s", a, why))
		}
	})
	slices.Sort(out)
	return out
}

var errThere = errors.New("the fold is reached")

// follow reads the log until it is where the fold of the process is, and takes the rest from there.
func (s *Service) follow(ctx context.Context) error {
	take := func(m events.Message) {
		if s.laws != nil {
			s.laws.read(m)
		}
		s.tail.add(newEntry(m))
	}
	for {
		last, _ := s.tail.at()
		err := s.Events.Follow(ctx, last+1, nil, func(m events.Message) error {
			take(m)
			if end, there := s.Replica.Also(m.Event.Seq, take); there {
				context.AfterFunc(ctx, end)
				return errThere
			}
			return nil
		})
		if errors.Is(err, errThere) {
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return nil
		}
		s.Log.Info("subscription lost, following the log anew", zap.Error(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// pass runs when the fold has changed: it tells of new quarantines and of broken laws, once each.
func (s *Service) pass(ctx context.Context) (time.Time, error) {
	if err := s.tail.await(ctx, s.Replica.Seq()); err != nil {
		return time.Time{}, err
	}
	s.read.Store(true)
	for _, d := range s.Detail() {
		if !s.known[d] {
			s.known[d] = true
			s.Log.Error("the log is damaged", zap.String("detail", d))
		}
	}
	if s.laws != nil {
		return time.Time{}, s.tell(ctx)
	}
	return time.Time{}, nil
}

// Bounds of one reply.
const (
	maxEvents = 500
	maxAudit  = 1000
	maxWait   = 30 * time.Second
	maxReply  = 512 << 10       // bytes; a line may be larger, and then comes alone
	maxScan   = 2 * time.Second // of the stream, for one reply
	replyTime = time.Second     // of a handler's time, for the reply
)

// page is a part of the log: what was wanted, up to where it was looked at.
type page struct {
	entries []entry
	next    uint64
	bytes   int
}

// take adds e if it is wanted and there is room, and says whether to go on.
func (p *page) take(e entry, limit int, wanted func(*entry) bool) bool {
	if wanted(&e) {
		if len(p.entries) == limit || len(p.entries) > 0 && p.bytes+len(e.line) > maxReply {
			return false
		}
		p.entries, p.bytes = append(p.entries, e), p.bytes+len(e.line)
	}
	p.next = e.seq + 1
	return true
}

var errEnough = errors.New("enough")

// scan looks at the log from a sequence on until the reply is full, or the log ends, or reading what is no longer in memory has
// taken its time.
func (s *Service) scan(ctx context.Context, since uint64, limit int, wanted func(*entry) bool) (page, error) {
	p := page{next: max(since, 1)}
	if _, first := s.tail.from(p.next); p.next < first {
		old, cancel := context.WithTimeout(ctx, maxScan)
		defer cancel()
		full := false
		err := s.Events.Follow(old, p.next, nil, func(m events.Message) error {
			if m.Event.Seq >= first {
				return errEnough
			}
			if full = !p.take(newEntry(m), limit, wanted); full || p.next == first {
				return errEnough
			}
			return nil
		})
		switch {
		case old.Err() != nil && ctx.Err() == nil, full:
			return p, nil
		case !errors.Is(err, errEnough):
			return p, err
		}
		p.next = max(p.next, first)
	}
	held, _ := s.tail.from(p.next)
	for _, e := range held {
		if !p.take(e, limit, wanted) {
			break
		}
	}
	return p, nil
}

// poll scans until there is something, or wait is over, or the log's end is reached where wait is none.
func (s *Service) poll(ctx context.Context, since uint64, limit int, wait time.Duration, wanted func(*entry) bool) (page, error) {
	over := time.NewTimer(s.patience(ctx, wait))
	defer over.Stop()
	for {
		last, more := s.tail.at()
		p, err := s.scan(ctx, since, limit, wanted)
		if err != nil || len(p.entries) > 0 || wait <= 0 {
			return p, err
		}
		since = p.next
		if since <= last {
			more = ready // not at the end yet: only the time for one reading was up
		}
		select {
		case <-more:
		case <-over.C:
			return p, nil
		case <-ctx.Done():
			return p, nil
		}
	}
}

var ready = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// patience bounds a long poll so that its answer still arrives in time.
func (s *Service) patience(ctx context.Context, wait time.Duration) time.Duration {
	wait = min(max(wait, 0), maxWait)
	if at, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(at)-replyTime, 0))
	}
	return wait
}
