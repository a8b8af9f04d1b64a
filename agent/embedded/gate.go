package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFenced says that an instance may not write: it is not active, its epoch is over, or its node's lease has run out.
var ErrFenced = errors.New("fenced")

// gate is the right of one instance to write under one epoch. It is closed once and for all. It is safe for concurrent use.
type gate struct {
	app, instance string
	epoch         uint64
	fenced        bool // the lease's deadline counts
	rights        *rights

	mu      sync.Mutex
	closed  error // why; nil while open
	writing int
	stored  func(context.Context) error // to be waited for before a commit is acknowledged; nil for nothing
	begun   bool                        // OnActive has returned
	held    []func()                    // to be called when it is shut
	idle    chan struct{}               // closed when the last write under way has ended; nil while nobody waits
}

// rights is what the gates of a node are judged by. It is safe for concurrent use.
type rights struct {
	boot func() time.Duration

	mu       sync.Mutex
	deadline time.Duration
	highest  map[string]uint64 // epoch by app
}

func (r *rights) extend(deadline time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = max(r.deadline, deadline)
}

func (r *rights) seen(app string, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.highest[app] = max(r.highest[app], epoch)
}

// judge returns why nothing may be written, or nil.
func (g *gate) judge() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%s under epoch %d: %w: %s", g.instance, g.epoch, ErrFenced, fmt.Sprintf(format, args...))
	}
	r := g.rights
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case g.closed != nil:
		return refuse("%v", g.closed)
	case r.highest[g.app] > g.epoch:
		return refuse("epoch %d was granted", r.highest[g.app])
	case g.fenced && r.boot() >= r.deadline:
		return refuse("the node's lease has run out")
	}
	return nil
}

// check returns why the instance may not write now, or nil.
func (g *gate) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.judge()
}

// enter is check for the beginning of a write; after nil, leave must be called at its end.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.judge(); err != nil {
		return err
	}
	g.writing++
	return nil
}

// acknowledge sets what is to be waited for before a commit is acknowledged; nil is nothing.
func (g *gate) acknowledge(stored func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stored = stored
}

// begins notes that OnActive has returned.
func (g *gate) begins() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begun = true
}

// awaits returns what a commit waits for; own says that it is made with the context of OnActive, which cannot wait for what comes after it.
func (g *gate) awaits(own bool) func(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if own && !g.begun {
		return nil
	}
	return g.stored
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing--; g.writing == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// hold is enter for what stays open until the gate is shut: closing is called then, and leaves when it returns.
func (g *gate) hold(closing func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.judge(); err != nil {
		return err
	}
	g.writing++
	g.held = append(g.held, func() {
		defer g.leave()
		closing()
	})
	return nil
}

// shut refuses every further write. Those under way go on, and what is held is being closed; see settle.
func (g *gate) shut(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = why
	}
	for _, closing := range g.held {
		go closing()
	}
	g.held = nil
}

// settle returns when no write is under way in a gate that was shut.
func (g *gate) settle(ctx context.Context) error {
	g.mu.Lock()
	if g.writing == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle, writing := g.idle, g.writing
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %d writes or open databases are left: %w", g.instance, writing, context.Cause(ctx))
	}
}
