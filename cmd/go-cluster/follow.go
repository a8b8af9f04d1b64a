package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

const (
	pollWait   = time.Second            // longest between two looks at an order
	retryPause = 500 * time.Millisecond // after a request that was not answered
	logLimit   = 2 * time.Second        // for what only adds detail: the event log, besides what it was asked to wait; freezes
	logRetry   = 10 * time.Second       // until an event log that could not be read is asked again
	silence    = 15 * time.Second       // without a change, after which the watcher is told what it waits for
)

// watcher follows orders to their end. It only looks: whatever ends it, the work goes on.
type watcher struct {
	outages
	p       *progress
	next    uint64    // first event not read yet
	blind   time.Time // the event log cannot be read and is not asked before then: states only
	spoke   time.Time // last line of progress
	asked   bool      // whether moves are frozen
	started time.Time
}

// follow watches the orders from the event with sequence since on, prints each change, and ends when each order has ended or
// only waits for a place. What it returns is the command's outcome.
func (c *client) follow(p *progress, since uint64) error {
	w := &watcher{outages: outages{client: c}, p: p, next: max(since, 1), spoke: time.Now(), started: c.began}
	for wait := time.Duration(0); ; wait = pollWait {
		if err := w.look(wait); err != nil {
			return w.ended(err)
		}
		if p.over() {
			return w.conclude()
		}
		w.warnHeld()
		w.remind()
	}
}

// look waits for events for at most so long, and then asks for each order's state.
func (w *watcher) look(wait time.Duration) error {
	if err := w.events(wait, 0); err != nil {
		return err
	}
	for _, o := range w.p.orders {
		if o.known && o.last.State != api.OrderOpen {
			continue
		}
		rep, err := w.state(o)
		if err != nil {
			return w.outage(err)
		}
		w.up()
		// The steps that led to this state come first.
		if err := w.events(0, rep.Seq); err != nil {
			return err
		}
		w.print(w.p.status(o, rep))
	}
	return nil
}

// state asks for an order's state, or for that of an app that is watched itself.
func (w *watcher) state(o *watched) (api.OrderReply, error) {
	minSeq := max(w.next-1, o.seq)
	if o.id == "" {
		return w.appState(o, minSeq)
	}
	return call[api.OrderRequest, api.OrderReply](w.client, api.OrderStatus, api.OrderRequest{Meta: w.question(minSeq), Order: o.id})
}

// events prints what the log has: up to sequence upTo, or else whatever is there after waiting for the first. A log that cannot
// be read only costs detail.
func (w *watcher) events(wait time.Duration, upTo uint64) error {
	if upTo > 0 && w.next > upTo {
		return nil
	}
	if time.Now().Before(w.blind) {
		return pause(w.ctx, min(wait, retryPause))
	}
	for first := true; first || w.next <= upTo; first = false {
		ctx, cancel := context.WithTimeout(w.ctx, wait+logLimit)
		rep, err := callCtx[api.EventListRequest, api.EventListReply](ctx, w.client, api.EventList,
			api.EventListRequest{Meta: w.question(upTo), SinceSeq: w.next, Limit: 500, Wait: spec.Duration(wait)})
		cancel()
		if err != nil {
			if w.ctx.Err() != nil {
				return err
			}
			if w.blind.IsZero() {
				w.notef("%s", styleOf(w.err).faint("the event log cannot be read, single steps are not shown: "+err.Error()))
			}
			w.blind = time.Now().Add(logRetry)
			return nil
		}
		w.blind = time.Time{}
		for _, line := range rep.Lines {
			if e, err := parseEventLine(line); err == nil {
				w.print(w.p.event(e))
			}
		}
		if rep.NextSeq <= w.next && len(rep.Lines) == 0 {
			return nil
		}
		w.next = max(w.next, rep.NextSeq)
	}
	return nil
}

func (w *watcher) print(changes []change) {
	st := styleOf(w.err)
	for _, ch := range changes {
		w.spoke = time.Now()
		if !st.terminal {
			w.notef("%s %s %s: %s", w.spoke.UTC().Format(time.RFC3339), ch.subject, ch.route, ch.text)
			continue
		}
		w.notef("%s  %s  %s  %s", st.faint(fmt.Sprintf("%7s", took(w.spoke.Sub(w.started)))), st.bold(ch.subject), ch.route, st.tone(ch.tone, ch.text))
	}
}

// warnHeld says, once, why nothing starts: an order is accepted while moves are frozen, and held.
func (w *watcher) warnHeld() {
	if w.asked || !w.down.IsZero() || slices.ContainsFunc(w.p.orders, (*watched).underWay) {
		return
	}
	w.asked = true
	w.warnFrozen(w.frozen(0))
}

// underWay reports whether a migration of the order has been admitted, or the order needs none that a freeze would hold.
func (o *watched) underWay() bool {
	return o.kind == "cancel" || o.kind == "remove" || o.kind == "move" || len(o.last.Migrations) > 0
}

// remind says what is still awaited when nothing has changed for a while.
func (w *watcher) remind() {
	if time.Since(w.spoke) < silence || !w.down.IsZero() {
		return
	}
	w.spoke = time.Now()
	for _, o := range w.p.orders {
		if o.last.State != api.OrderOpen {
			continue
		}
		var what []string
		for _, v := range o.last.Migrations {
			if openMigration(v) {
				what = append(what, join(v.Instance+" "+v.Status, stepName(v.Step), v.Detail))
			}
		}
		for _, p := range o.last.Stuck {
			what = append(what, join(p.Instance+" has nowhere to go", p.Reason))
		}
		if len(o.last.Stays) > 0 {
			what = stayLines(o.last.Stays)
		}
		if len(what) == 0 {
			what = o.last.Left
		}
		w.notef("%s", styleOf(w.err).faint(fmt.Sprintf("%s %s goes on for %s: %s", o.kind, o.name, span(time.Since(w.started).Round(time.Second)), o.few(what))))
	}
}

// few writes what is awaited, of much the beginning.
func (o *watched) few(what []string) string {
	const most = 10
	if len(what) < 2 {
		return orNone(what)
	}
	lines := strings.Join(what[:min(len(what), most)], "\n  ")
	if more := len(what) - most; more > 0 {
		lines += fmt.Sprintf("\n  and %d more: %s", more, o.lookHint())
	}
	return "\n  " + lines
}

// stayLines says why each instance is where it is.
func stayLines(stays []api.StayView) (lines []string) {
	for _, st := range stays {
		lines = append(lines, join(st.ID, readable(st.Why)))
	}
	return lines
}

// conclude prints how each order ended.
func (w *watcher) conclude() error {
	var (
		codes   []int
		replies []api.OrderReply
		st      = styleOf(w.say())
	)
	for _, o := range w.p.orders {
		v := o.verdict()
		if v.code == exitDone && (o.kind == "apply" || o.kind == "restart") {
			v.line = w.runs(o, v.line)
		}
		codes, replies = append(codes, v.code), append(replies, o.last)
		switch v.code {
		case exitDone:
			w.sayf("%s", st.tone(v.tone, v.line))
		case exitPending:
			w.notef("%s", styleOf(w.err).warn(v.line))
			w.pending(w.err, o.last.Stuck)
			w.notef("%s", o.openHint())
		case exitApproval:
			w.notef("%s", styleOf(w.err).warn(v.line))
		default:
			w.notef("%s %s", styleOf(w.err).bad("error:"), v.line)
		}
	}
	if err := w.orderData(replies); err != nil {
		return err
	}
	return done(gravest(codes...))
}

// runs says where an app is now; it falls back to line when that cannot be asked.
func (w *watcher) runs(o *watched, line string) string {
	app, err := w.app(o.name, o.seq)
	if err != nil {
		return line
	}
	if app.Desired == 0 {
		return line + ": none of it is to run"
	}
	return fmt.Sprintf("%s runs on %s (%s)", o.name, strings.Join(app.Nodes, ", "), ready(app.AppView))
}

func (w *watcher) orderData(replies []api.OrderReply) error {
	if len(replies) == 1 {
		return w.data(replies[0])
	}
	return w.data(replies)
}

// ended closes a watch that something else than the orders has ended.
func (w *watcher) ended(err error) error {
	var hints []string
	for _, o := range w.p.orders {
		hints = append(hints, o.lookHint())
	}
	look := strings.Join(hints, " or ")
	cause := w.ctx.Err()
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		w.notef("%s time is up: stopped watching, the work goes on\ntry: %s", styleOf(w.err).bad("error:"), look)
		return done(exitTimeUp)
	case cause != nil:
		w.notef("stopped watching, the work goes on; look with: %s", look)
		return done(exitInterrupted)
	}
	return &exit{code: codeOf(err), err: fmt.Errorf("watch %s %s: %w", w.p.orders[0].kind, w.p.orders[0].name, err), hint: look}
}

// lookHint is the command that shows how far an order is.
func (o *watched) lookHint() string {
	switch o.kind {
	case "move", "cancel":
		return "go-cluster migration show " + o.id
	case "drain":
		return "go-cluster node show " + o.name
	case "apply", "restart", "remove":
		return "go-cluster app show " + o.name
	}
	return "go-cluster migration list"
}

// openHint says what becomes of an order that waits for a place.
func (o *watched) openHint() string {
	switch o.kind {
	case "drain":
		return fmt.Sprintf("the drain stays open and goes on as soon as there is a place; give it up with: go-cluster node drain %s --cancel", o.name)
	case "evacuation":
		return fmt.Sprintf("the evacuation stays open and goes on as soon as there is a place; give it up with: go-cluster app evacuate --label %q --cancel", o.name)
	case "apply", "restart":
		return "it is placed as soon as there is a place; look with: go-cluster app show " + o.name
	}
	return fmt.Sprintf("the %s stays open and goes on as soon as there is a place", o.kind)
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
