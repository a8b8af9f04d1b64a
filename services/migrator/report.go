package migrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// verdict is what a report is to the fold.
type verdict int

const (
	refused  verdict = iota // it answers nothing that is, or was, asked of the node
	answers                 // it answers the open step
	repeated                // it answers a step that it has answered before
)

// judgeReport decides what a report is, and why when it is refused. subjectNode is whom NATS lets publish it.
func judgeReport(v *projections.Cluster, r *api.StepReport, subjectNode string) (*projections.Migration, verdict, string) {
	m := v.Migrations[r.Migration]
	switch {
	case subjectNode != r.Node:
		return nil, refused, fmt.Sprintf("it says that it is of %s, and came from %s", r.Node, subjectNode)
	case m == nil:
		return nil, refused, fmt.Sprintf("no migration %q is known", r.Migration)
	case r.App != m.App || r.Instance != m.Instance:
		return nil, refused, fmt.Sprintf("migration %s moves %s of app %s, not %s of app %s", m.Migration, m.Instance, m.App, r.Instance, r.App)
	}
	o := m.Order
	switch {
	case o == nil || o.Seq != r.OrderSeq && !planted.StaleOrder:
		if answered(m, r) {
			return m, repeated, ""
		}
		return m, refused, notOpen(m, r)
	case r.Node != o.Node:
		return m, refused, fmt.Sprintf("order %d of migration %s is for %s", o.Seq, m.Migration, o.Node)
	case r.Inc != o.Inc:
		return m, refused, fmt.Sprintf("order %d of migration %s is for incarnation %s of %s, not for %s", o.Seq, m.Migration, o.Inc, o.Node, r.Inc)
	case r.Step != o.Step:
		return m, refused, fmt.Sprintf("order %d of migration %s is to %s, not to %s", o.Seq, m.Migration, o.Step, r.Step)
	}
	if ends := o.Step == events.StepStop || o.Step == events.StepStepDown; !ends && !r.Failed && !alive(v, r.Node, r.Inc) {
		// Nothing of it is there any more, and its loss is behind us: nobody would say so again.
		return m, refused, fmt.Sprintf("order %d of migration %s is for incarnation %s of %s, which is lost", o.Seq, m.Migration, o.Inc, o.Node)
	}
	if why := misplaced(v.Apps[m.App], o, r); why != "" {
		return m, refused, why
	}
	return m, answers, ""
}

// misplaced says what is wrong with the position in a report that a step was done, of an app whose data are replicated.
func misplaced(a *projections.App, o *projections.Order, r *api.StepReport) string {
	if r.Failed || a == nil || !a.Spec.Replicated() {
		return ""
	}
	var res events.Result
	if r.Result != nil {
		res = *r.Result
	}
	p, err := events.ParsePosition(res.Position)
	switch {
	case err != nil:
		return err.Error()
	case res.Position == "" && a.Removed && o.Step == events.StepStepDown: // see releases: where they end nobody asks any more
		return ""
	case res.Position == "" && (o.Step == events.StepSync || o.Step == events.StepStepDown && !o.Undo || o.Step == events.StepApply):
		return fmt.Sprintf("order %d was done without saying to which position", o.Seq)
	case o.Step == events.StepApply && !planted.CopyBehind && (res.Position != o.Position || res.Checksum != o.Checksum):
		return fmt.Sprintf("order %d was to apply exactly %s (%s), and not %s (%s)", o.Seq, o.Position, o.Checksum, res.Position, res.Checksum)
	case o.Step == events.StepCatchUp && o.Position != "":
		if want, _ := events.ParsePosition(o.Position); !p.Reached(want) {
			return fmt.Sprintf("order %d was to catch up to %s, and %s is not there yet", o.Seq, want, p)
		}
	}
	return ""
}

// closing returns the event after the one with sequence seq in the history of a migration: what ended the step ordered there.
func closing(m *projections.Migration, seq uint64) *projections.Happening {
	ordered := false
	for i := range m.History {
		h := &m.History[i]
		if ordered && h.Event != typeCancel {
			return h
		}
		ordered = ordered || h.Seq == seq
	}
	return nil
}

// answered says whether the step that a report is about ended with a report: then this one repeats it. In doubt it says no,
// which costs a refusal in the log.
func answered(m *projections.Migration, r *api.StepReport) bool {
	h := closing(m, r.OrderSeq)
	if h == nil {
		return false
	}
	switch h.Event {
	case typeStepCompleted, typeStepFailed:
		return h.Step == string(r.Step) && h.Node == r.Node
	case typeActivated:
		return r.Step == events.StepPersist && h.Node == r.Node
	case typeReleased:
		return r.Step == events.StepStepDown && h.Node == r.Node
	case typeGranted:
		return r.Step == events.StepStepDown && h.Node != r.Node || r.Step == events.StepApply && h.Node == r.Node || m.Kind == events.KindInPlace || m.Kind == events.KindPlace
	case typeCompleted:
		return h.Step == string(r.Step)
	case typeFailed: // a standby prepared for a move that has become stale, or the source active again at the end of an undo
		return m.Code == "stale" || r.Step == events.StepActivate
	}
	return false
}

func notOpen(m *projections.Migration, r *api.StepReport) string {
	if h := closing(m, r.OrderSeq); h != nil {
		return fmt.Sprintf("order %d of migration %s was closed without it by %s at %d", r.OrderSeq, m.Migration, h.Event, h.Seq)
	}
	return fmt.Sprintf("%d is not the sequence of an order of migration %s", r.OrderSeq, m.Migration)
}

// Types that end steps, as they stand in a migration's history.
var (
	typeCancel        = typeOf(&events.CancelRequested{})
	typeStepCompleted = typeOf(&events.StepCompleted{})
	typeStepFailed    = typeOf(&events.StepFailed{})
	typeActivated     = typeOf(&events.LeadershipActivated{})
	typeReleased      = typeOf(&events.LeadershipReleased{})
	typeGranted       = typeOf(&events.LeadershipGranted{})
	typeCompleted     = typeOf(&events.MigrationCompleted{})
	typeFailed        = typeOf(&events.MigrationFailed{})
)

func typeOf(payload any) events.Type {
	t, err := events.TypeOf(payload)
	if err != nil {
		panic(err) // the registry of this very program lacks it: cannot happen
	}
	return t
}

// errHeld says that a report cannot be acted on yet; it is delivered again.
var errHeld = errors.New("held back")

// foldWait is how long a report waits for the order that it answers to arrive in this process.
const foldWait = 2 * time.Second

// report acts on one report: it stores what follows from it, lets a repetition pass, and records a refusal. An error has it
// delivered again, but for those of transport.Drop.
func (s *Service) report(ctx context.Context, r api.StepReport, subjectNode string) error {
	if err := s.awaitOrder(ctx, r.OrderSeq); errors.Is(err, errNoSuchOrder) {
		return s.refuse(ctx, &r, subjectNode, err.Error())
	} else if err != nil {
		return err
	}
	var (
		is   verdict
		why  string
		wake time.Time
	)
	now, sure := s.Seen.Now()
	try, cancel := context.WithTimeout(ctx, services.Fresh)
	defer cancel()
	stored, err := s.Decide(try, func(v *projections.Cluster) (d *events.Draft, _ error) {
		var m *projections.Migration
		if m, is, why = judgeReport(v, &r, subjectNode); is == answers {
			d, wake = next(v, m, Input{Report: &r}, now, sure, s.judge(v))
		}
		return d, nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("report of %s on order %d: %w", subjectNode, r.OrderSeq, err)
	case is == refused:
		return s.refuse(ctx, &r, subjectNode, why)
	case is == repeated || stored != nil:
		return nil
	}
	return fmt.Errorf("report of %s on order %d: %w until %v", subjectNode, r.OrderSeq, errHeld, wake)
}

var errNoSuchOrder = errors.New("it answers an order beyond the end of the log")

// awaitOrder returns once the fold has an order. One beyond the end of the log will never arrive: a report of another life of
// the log, or an invention.
func (s *Service) awaitOrder(ctx context.Context, seq uint64) error {
	try, cancel := context.WithTimeout(ctx, foldWait)
	defer cancel()
	err := s.Replica.Await(try, seq)
	if err == nil || ctx.Err() != nil {
		return err
	}
	last, lastErr := s.Events.LastSeq(ctx)
	if lastErr == nil && seq > last {
		return fmt.Errorf("%w: order %d, the log ends at %d", errNoSuchOrder, seq, last)
	}
	return err
}

// refuse records why a report was refused, once, and has it dropped.
func (s *Service) refuse(ctx context.Context, r *api.StepReport, node, why string) error {
	e := api.Refuse(api.CodeRefused, "report of %s on %s of %s: %s", node, r.Step, r.Instance, why)
	if _, err := s.Refused(ctx, "agent:"+node, fmt.Sprintf("rep:%d:%s", r.OrderSeq, node), "report.step", e); err != nil {
		return fmt.Errorf("record a refusal: %w", err)
	}
	s.Log.Warn("report refused", zap.String("node", node), zap.Uint64("order", r.OrderSeq), zap.String("why", why))
	return transport.Drop(e)
}
