package planner_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services/planner"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

// world is a planner on the real JetStream. The test plays everybody else: nodes are there because the log says so, and every
// migration that is admitted ends well at once, unless it is held.
type world struct {
	*st.Cluster
	t    *testing.T
	held atomic.Bool
	poke chan struct{}
}

func run(t *testing.T, nodes map[string]string, f func(t *testing.T, w *world)) {
	t.Helper()
	quiet(t, nodes, func(t *testing.T, w *world) {
		w.Beat(t)
		f(t, w)
	})
}

// quiet is run without heartbeats: nobody knows what time it is.
func quiet(t *testing.T, nodes map[string]string, f func(t *testing.T, w *world)) {
	t.Helper()
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		w := &world{Cluster: c, t: t, poke: make(chan struct{}, 1)}
		c.Start(t, planner.New(c.Base).Run)
		c.Start(t, w.migrate)
		for _, id := range slices.Sorted(maps.Keys(nodes)) {
			w.join(id, nodes[id])
		}
		f(t, w)
	})
}

// put stores an event as somebody else would, on whatever there is.
func (w *world) put(agg events.Aggregate, data any) events.Event {
	w.t.Helper()
	for {
		var head events.Head
		w.Replica.View(func(v *projections.Cluster) { head = v.Head(agg) })
		e, err := w.Events.Append(w.t.Context(), events.Draft{Aggregate: agg, Actor: "test", Cause: "test", Data: data}, head)
		switch {
		case errors.Is(err, events.ErrConflict):
			if err := w.Replica.CatchUp(w.t.Context(), 0); err != nil {
				w.t.Fatal(err)
			}
			continue
		case err != nil:
			w.t.Fatal(err)
		}
		if err := w.Replica.Await(w.t.Context(), e.Seq); err != nil {
			w.t.Fatal(err)
		}
		return e
	}
}

func (w *world) join(node, labels string) {
	w.t.Helper()
	w.put(events.Node(node), &events.NodeJoined{Node: node, Inc: node + "/1", Machine: "m-" + node,
		Facts: events.Facts{Address: node, CPU: 8000, Memory: 16 << 30, Drivers: []string{"process"}}})
	if labels != "" {
		w.label(node, labels)
	}
}

func (w *world) label(node, labels string) {
	w.t.Helper()
	set := map[string]string{}
	for l := range strings.SplitSeq(labels, ",") {
		k, v, _ := strings.Cut(l, "=")
		set[k] = v
	}
	w.put(events.Node(node), &events.NodeLabelsUpdated{Node: node, After: set})
}

// hold leaves migrations as they are admitted, from now on or no longer.
func (w *world) hold(held bool) {
	w.held.Store(held)
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

func (w *world) migrate(ctx context.Context) error {
	type next struct {
		app  string
		data any
		head events.Head
	}
	for {
		changed, todo := w.Replica.Changed(), []next{}
		w.Replica.View(func(v *projections.Cluster) {
			for _, a := range v.Apps {
				if open := a.SortedOpen(); len(open) > 0 && !w.held.Load() {
					todo = append(todo, next{a.Name, following(a, open[0]), v.Head(events.App(a.Name))})
				}
			}
		})
		for _, n := range todo {
			e, err := w.Events.Append(ctx, events.Draft{Aggregate: events.App(n.app), App: n.app, Actor: events.Migrator, Cause: "test", Data: n.data}, n.head)
			if err == nil {
				err = w.Replica.Await(ctx, e.Seq)
			} else if errors.Is(err, events.ErrConflict) {
				err = w.Replica.CatchUp(ctx, 0)
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
		if len(todo) > 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-changed:
		case <-w.poke:
		case <-ctx.Done():
			return nil
		}
	}
}

func following(a *projections.App, m *projections.Migration) any {
	switch {
	case m.Cancel != nil && !m.Committed:
		left := events.LeftAtSource
		if m.Kind == events.KindPlace {
			left = events.LeftNowhere
		}
		return &events.MigrationFailed{Ref: m.Ref(), Code: "cancelled", Detail: m.Cancel.Why, Left: left}
	case m.Status == projections.MigrationPlanned:
		return &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, Plan: m.Plan, SpecRev: m.SpecRev, Generation: a.Generation,
			FromInc: m.FromInc, ToInc: m.ToInc, Order: m.Orderer, Class: m.Class, DeleteLocal: m.DeleteLocal}
	}
	return &events.MigrationCompleted{Ref: m.Ref()}
}

func singleton(name string, require ...string) spec.App {
	return spec.App{Name: name, Mode: spec.Singleton, Require: require, Process: &spec.Process{Command: []string{"/bin/app"}}}
}

func pool(name string, replicas int, require ...string) spec.App {
	return spec.App{Name: name, Mode: spec.Replicas, Replicas: &replicas, Require: require, Process: &spec.Process{Command: []string{"/bin/app"}}}
}

func (w *world) apply(a spec.App) api.ApplyReply {
	w.t.Helper()
	return st.Must[api.ApplyReply](w.t, w.Cluster, api.AppApply, api.ApplyRequest{Meta: w.Meta(), Spec: a})
}

// place applies an app and waits until all of it runs.
func (w *world) place(apps ...spec.App) {
	w.t.Helper()
	for _, a := range apps {
		w.apply(a)
		w.runs(a.Name)
	}
}

func (w *world) runs(app string) {
	w.t.Helper()
	w.Until(w.t, app+" runs", func(v *projections.Cluster) bool {
		a := v.Apps[app]
		return a != nil && len(a.Open) == 0 && a.Pending == nil && len(a.Instances) == a.Desired()
	})
}

// open waits until an app has an open migration, and returns it.
func (w *world) open(app string) (m projections.Migration) {
	w.t.Helper()
	w.Until(w.t, "a migration of "+app, func(v *projections.Cluster) bool {
		a := v.Apps[app]
		if a == nil || len(a.Open) == 0 {
			return false
		}
		m = *a.SortedOpen()[0]
		return true
	})
	return m
}

func (w *world) on(app string) (nodes []string) {
	w.Replica.View(func(v *projections.Cluster) {
		for _, in := range v.Apps[app].SortedInstances() {
			nodes = append(nodes, in.Node)
		}
	})
	return nodes
}

// stored counts the events of a type.
func stored[T any](w *world) (n int) {
	w.t.Helper()
	t, err := events.TypeOf(new(T))
	if err != nil {
		w.t.Fatal(err)
	}
	w.Replica.View(func(v *projections.Cluster) { n = v.Metrics.Events[t] })
	return n
}

// last returns the payload of the newest event of a type.
func last[T any](w *world) *T {
	w.t.Helper()
	return lastEvent[T](w).Data.(*T)
}

// lastEvent returns the newest event of a type.
func lastEvent[T any](w *world) (found events.Event) {
	w.t.Helper()
	enough, end := errors.New("enough"), w.Replica.Seq()
	err := w.Events.Follow(w.t.Context(), 1, nil, func(m events.Message) error {
		if _, ok := m.Event.Data.(*T); ok {
			found = m.Event
		}
		if m.Event.Seq >= end {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || found.Data == nil {
		w.t.Fatalf("no %T in the log (%v)", new(T), err)
	}
	return found
}

// refused asks for something and checks how it is refused.
func refused[Req any](w *world, e api.Endpoint, req Req, code api.Code, says string) *api.Error {
	w.t.Helper()
	_, err := st.Call[any](w.Cluster, e, req)
	var r *api.Error
	if !errors.As(err, &r) {
		w.t.Fatalf("%s.%s: got %v, want %s", e.Noun, e.Verb, err, code)
	}
	if r.Code != code || !strings.Contains(r.Error(), says) {
		w.t.Errorf("%s.%s: got %s: %v; want %s saying %q", e.Noun, e.Verb, r.Code, r, code, says)
	}
	return r
}

func (w *world) ack(e api.Endpoint, req any) api.Ack {
	w.t.Helper()
	return st.Must[api.Ack](w.t, w.Cluster, e, req)
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, fmt.Sprint(got), want)
	}
}
