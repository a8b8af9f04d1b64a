package planner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// Bounds of one answer.
const (
	maxChains = 64 // of one reply
	maxLinks  = 32 // of one chain
)

// why answers why an app's instances are where they are: the fold says which event put each of them there, and the log has the rest,
// however long ago that was.
func (s *Service) why(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.WhyRequest](r)
	if err != nil {
		return nil, err
	}
	out := api.WhyReply{App: req.App, Chains: []api.WhyChain{}}
	var begins []beginning
	t := tracer{log: s.Events, read: map[uint64]events.Event{}}
	err = s.Question(ctx, r, func(v *projections.Cluster) error {
		a := v.Apps[req.App]
		if a == nil || !a.Exists() {
			return api.Refuse(api.CodeNotFound, "why %s: no such app", req.App)
		}
		out.Seq, out.State = v.Seq, projections.AppView(v, a).State
		begins, t.known = beginnings(v, a), causesOf(v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if req.Instance != "" {
		begins = slices.DeleteFunc(begins, func(b beginning) bool { return b.Instance != req.Instance })
		if len(begins) == 0 {
			return nil, api.Refuse(api.CodeNotFound, "why %s: it has no instance %s", req.App, req.Instance)
		}
	}
	if len(begins) > maxChains {
		out.More = len(begins) - maxChains
		begins = begins[:maxChains]
	}
	for _, b := range begins {
		if err := t.trace(ctx, &b); err != nil {
			return nil, api.Refuse(api.CodeUnavailable, "why %s: %v", req.App, err)
		}
		out.Chains = append(out.Chains, b.WhyChain)
	}
	return &out, nil
}

// beginning is a chain that has yet to be followed, from these events on.
type beginning struct {
	api.WhyChain
	from  []uint64 // sequences, the newest first; what follows is the cause of the last one
	app   string
	moves string // migration that it is about, "" for none
}

// beginnings lists what there is to explain of an app: first what is not as it should be.
func beginnings(v *projections.Cluster, a *projections.App) (out []beginning) {
	defer func() {
		for i := range out {
			out[i].app = a.Name
		}
	}()
	if p := a.Pending; p != nil {
		out = append(out, beginning{WhyChain: api.WhyChain{Instance: p.Instance, Now: "has nowhere to go: " + p.Reason}, from: []uint64{p.By.Seq}})
	}
	for _, id := range sortedKeys(a.Proposals) {
		m := a.Proposals[id]
		out = append(out, beginning{WhyChain: api.WhyChain{Instance: id, Node: m.To, Now: fmt.Sprintf("its %s is held: %s", ends(m.Move), projections.HoldsLine(m.Holds))},
			from: []uint64{m.History[0].Seq}, moves: m.Migration})
	}
	for _, m := range a.SortedOpen() {
		out = append(out, beginning{WhyChain: api.WhyChain{Instance: m.Instance, Node: m.To, Now: "its " + ends(m.Move) + " is under way"}, from: []uint64{m.Admitted.Seq}, moves: m.Migration})
	}
	for _, in := range a.SortedInstances() {
		if in.Put.Admitted.Seq == 0 || slices.ContainsFunc(out, func(b beginning) bool { return b.moves == in.Put.Migration }) {
			continue // it is only just being placed
		}
		c := api.WhyChain{Instance: in.ID, Node: in.Node, Now: fmt.Sprintf("is %s on %s", in.State, in.Node), Tried: tried(v, a, in)}
		out = append(out, beginning{WhyChain: c, from: []uint64{in.Put.By.Seq, in.Put.Admitted.Seq}, moves: in.Put.Migration})
	}
	return out
}

func ends(m events.Move) string {
	switch m.Kind() {
	case events.KindPlace:
		return "start on " + m.To
	case events.KindStop:
		return "stop on " + m.From
	case events.KindInPlace:
		return "restart on " + m.To
	}
	return "move " + m.From + " → " + m.To
}

// tried lists what ended after an instance was put where it is and has not moved it.
func tried(v *projections.Cluster, a *projections.App, in *projections.Instance) (out []api.MigrationView) {
	for _, m := range v.SortedMigrations() {
		if m.App == a.Name && m.Instance == in.ID && m.Ended() && m.Status != projections.MigrationCompleted && m.Admitted.Seq > in.Put.By.Seq {
			out = append(out, projections.MigrationView(v, m))
		}
	}
	slices.Reverse(out)
	return out[:min(len(out), 5)]
}

// causesOf is where the fold knows events to be stored: id → sequence. The log can be read by sequence alone.
func causesOf(v *projections.Cluster) map[string]uint64 {
	known := map[string]uint64{}
	note := func(cs ...projections.Cause) {
		for _, c := range cs {
			known[c.ID] = c.Seq
		}
	}
	for _, n := range v.Nodes {
		note(n.Joined, n.Factual, n.Labelled, n.Scheduled, n.Suspected)
	}
	for _, d := range v.Drains {
		note(d.Started)
	}
	for _, ev := range v.Evacuations {
		note(ev.Started)
	}
	for _, r := range v.Rebalances {
		note(r.Started)
	}
	for _, a := range v.Apps {
		note(a.Applied, a.Changed, a.Ruled, a.Restarted)
		for _, in := range a.Instances {
			note(in.Health)
		}
		for _, end := range a.Ended {
			note(end.By)
		}
	}
	return known
}

// tracer follows chains of causes through the log.
type tracer struct {
	log   *events.Log
	known map[string]uint64
	read  map[uint64]events.Event
}

func (t *tracer) at(ctx context.Context, seq uint64) (events.Event, error) {
	if e, ok := t.read[seq]; ok {
		return e, nil
	}
	e, err := t.log.At(ctx, seq)
	if err == nil {
		t.read[seq] = e
	}
	return e, err
}

// find reads the event with an id that is stored before a sequence.
func (t *tracer) find(ctx context.Context, id string, before uint64) (events.Event, error) {
	if seq := t.known[id]; seq > 0 {
		if e, err := t.at(ctx, seq); err == nil && e.ID == id {
			return e, nil
		}
	}
	e, err := t.log.Find(ctx, id, before)
	if err == nil {
		t.known[id], t.read[e.Seq] = e.Seq, e
	}
	return e, err
}

// trace follows a chain to its first cause. What the log does not have ends it, and is said; what cannot be asked is an error.
func (t *tracer) trace(ctx context.Context, b *beginning) error {
	b.Links = []api.WhyLink{}
	of := focus{b.app, b.Instance, b.moves}
	var e events.Event
	for _, seq := range b.from {
		var err error
		if e, err = t.at(ctx, seq); err != nil {
			return b.broken(err)
		}
		b.Links = append(b.Links, link(e, of))
	}
	for {
		next := causeFor(e, b.moves)
		b.By = e.Actor
		if approval := approvalFor(e, b.moves); approval != "" {
			said, err := t.find(ctx, approval, e.Seq)
			if err != nil {
				return b.broken(err)
			}
			b.Links = append(b.Links, link(said, of))
		}
		if !events.IsID(next) || len(b.Links) >= maxLinks { // who or what asked from outside
			b.Root = next
			return nil
		}
		before := e.Seq
		var err error
		if e, err = t.find(ctx, next, before); err != nil {
			return b.broken(err)
		}
		b.Links = append(b.Links, link(e, of))
	}
}

func (b *beginning) broken(err error) error {
	var bad *events.MalformedError
	if errors.Is(err, events.ErrNoEvent) || errors.As(err, &bad) {
		b.Broken = err.Error()
		return nil
	}
	return err
}
