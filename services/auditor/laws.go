package auditor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/projections"
)

// Bounds of what is told of broken laws. The metric counts all, and `go-cluster audit verify` shows all.
const (
	maxTold   = 200  // events in one log
	maxDetail = 4000 // bytes of one
)

// NoLaws leaves the laws to `go-cluster audit verify`: the auditor reads and writes nothing.
func NoLaws() Option { return func(s *Service) { s.laws = nil } }

// breach is what one event breaks of one law: it is told once, whichever auditor finds it, and however often.
type breach struct {
	law string
	seq uint64
}

// finding is a breach that the log does not tell of yet, so far as it was read.
type finding struct {
	breach
	detail, cause, correlation, app, node string
}

// laws holds the log against the laws as it is read. It is safe for concurrent use.
type laws struct {
	broken *prometheus.CounterVec

	mu      sync.Mutex
	checker *invariants.Checker
	found   map[breach]*finding
	told    map[breach]bool
	seq     uint64 // of the message read last
}

func newLaws() *laws {
	l := &laws{checker: invariants.New(), found: map[breach]*finding{}, told: map[breach]bool{}, broken: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gc_invariant_violations_total", Help: "Breaches in the log of laws that always hold: anything but 0 is a bug, or somebody wrote past the services."}, []string{"invariant"})}
	for _, i := range invariants.OfLog() {
		l.broken.WithLabelValues(i.Name) // from the start, so that the first is seen as an increase
	}
	return l
}

// read looks at the next message.
func (l *laws) read(m events.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq = m.Event.Seq
	if d, ok := m.Event.Data.(*events.InvariantViolated); ok && m.Err == nil {
		b := breach{d.Invariant, d.Seq}
		l.told[b] = true
		delete(l.found, b)
	}
	for _, v := range l.checker.Event(m) {
		l.broken.WithLabelValues(v.Name).Inc()
		b := breach{v.Name, v.Seq}
		switch f := l.found[b]; {
		case f != nil:
			f.detail += "; " + v.Detail
		case len(l.found)+len(l.told) < maxTold:
			l.found[b] = &finding{b, v.Detail, m.Event.ID, m.Event.Correlation, m.Event.App, m.Event.Node}
		}
	}
}

// next returns the oldest finding.
func (l *laws) next() (finding, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*finding
	for _, f := range l.found {
		all = append(all, f)
	}
	if len(all) == 0 {
		return finding{}, false
	}
	return *slices.MinFunc(all, func(x, y *finding) int { return cmp.Or(cmp.Compare(x.seq, y.seq), cmp.Compare(x.law, y.law)) }), true
}

// due says whether a finding is still to be told, by all that was read; upTo says how far that is.
func (l *laws) due(b breach) (due bool, upTo uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found[b] != nil, l.seq
}

// tell stores every finding that is not in the log. It returns when none is left.
func (s *Service) tell(ctx context.Context) error {
	for {
		f, some := s.laws.next()
		if !some {
			return nil
		}
		var behind uint64
		e, err := s.Decide(ctx, func(v *projections.Cluster) (*events.Draft, error) {
			agg := events.Audit(s.Name)
			due, upTo := s.laws.due(f.breach)
			if behind = v.Head(agg).Seq; behind > upTo {
				return nil, nil // another auditor may have told it
			}
			if behind = 0; !due {
				return nil, nil
			}
			detail := f.detail
			if len(detail) > maxDetail {
				detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
			}
			return &events.Draft{Aggregate: agg, App: f.app, Node: f.node, Cause: f.cause, Correlation: f.correlation,
				Data: &events.InvariantViolated{Invariant: f.law, Seq: f.seq, Detail: detail}}, nil
		})
		if err != nil {
			return err
		}
		if e != nil {
			s.Log.Error("the log breaks a law", zap.String("invariant", f.law), zap.Uint64("seq", f.seq), zap.String("detail", f.detail))
			behind = e.Seq
		}
		if err := s.tail.await(ctx, behind); err != nil {
			return err
		}
	}
}

// Violations returns the metric of broken laws. Like all of the auditor's counters a replay of the log gives it again.
func (s *Service) Violations() prometheus.Collector {
	if s.laws == nil {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gc_invariant_violations_total", Help: "Not looked for by this auditor."}, []string{"invariant"})
	}
	return s.laws.broken
}
