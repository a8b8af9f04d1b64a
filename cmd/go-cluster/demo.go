//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

type demoCommand struct {
	Keep    bool `help:"Leave the cluster running at the end, and say how to reach it, until Ctrl-C."`
	Verbose bool `short:"v" help:"Log everything that services and nodes do, on stderr."`

	// interfere is called once both apps run and before the first check: tests break the cluster with it.
	interfere func(*demo) error `kong:"-"`
}

// Help is printed by kong.
func (*demoCommand) Help() string {
	return `Three nodes, their apps as real processes, and every command below run as you would type it. What each one promises is checked from
outside: by HTTP, by the processes of this machine, by the counter's own journal and by the event log. Nothing is left behind.

Exit code 0 means that every check held; 1 names the first one that did not, with what was expected and what was seen.

Examples:
  go-cluster demo
  go-cluster demo --keep`
}

// demo is one performance.
type demo struct {
	*story
	cluster   *demoCluster
	migrator  *demoMigrator
	pool      *poolWatch
	programs  *demoPrograms
	base      *session
	interfere func(*demo) error
	patience  time.Duration // longest wait for something to become so

	home, away string // where the counter runs, and the other node that may have it
	played     bool   // to the end: Ctrl-C is then no interruption
	pending    uint64 // the epoch under which the counter came back after it had nowhere to go
}

// act is a part of the performance. It returns the first check that did not hold, or why it could not go on.
type act struct {
	title string
	play  func(context.Context, *demo) error
}

var acts = []act{
	{"Three nodes, two apps", playStart},
	{"Maintenance: a node is emptied and comes back", playMaintenance},
	{"Labels: nodes change while apps run", playLabels},
	{"A database: it moves while a client writes", playLedger},
	{"Nowhere to go: refused, allowed, healed", playNowhere},
	{"Crashes: an app, and a service in the middle of a move", playCrashes},
	{"Go programs: an app inside them moves, refuses and hands over", playPrograms},
	{"The books", playBooks},
}

// Run is called by kong.
func (cmd *demoCommand) Run(s *session) error {
	d := &demo{story: newStory(s), base: s, interfere: cmd.interfere, patience: 5 * time.Second}
	err := cmd.perform(s, d)
	var failed *failedCheck
	switch {
	case errors.As(err, &failed):
		d.failed(failed)
		return done(exitError)
	case s.ctx.Err() != nil && !d.played:
		return s.ctx.Err()
	}
	return err
}

// perform plays all acts on a cluster of its own. When it returns, no process and no file of it is left.
func (cmd *demoCommand) perform(s *session, d *demo) (err error) {
	d.opening()
	if d.cluster, err = startDemoCluster(s, cmd.Verbose); err != nil {
		return err
	}
	defer d.cluster.close()
	// What runs in the background ends the performance when it fails, and is ended before the cluster is.
	g, ctx := errgroup.WithContext(s.ctx)
	ctx, end := context.WithCancel(ctx)
	g.Go(func() error { return d.cluster.run(ctx) })
	g.Go(func() error {
		defer end()
		defer d.leave()
		err := d.play(ctx)
		if cmd.Keep && ctx.Err() == nil {
			d.keep(ctx, err)
		}
		return err
	})
	return g.Wait()
}

// playLimit is many times what a slow machine needs.
const playLimit = 2 * time.Minute

func (d *demo) play(outer context.Context) error {
	ctx, cancel := context.WithTimeout(outer, playLimit)
	defer cancel()
	err := d.cluster.ready(ctx)
	if err != nil {
		return err
	}
	if d.migrator, err = d.cluster.startMigrator(ctx, 1); err != nil {
		return err
	}
	for i, a := range acts {
		d.act(i+1, a.title)
		if err := a.play(ctx, d); errors.Is(ctx.Err(), context.DeadlineExceeded) && outer.Err() == nil {
			return &failedCheck{what: "the demo comes to its end", expected: "within " + span(playLimit), seen: "still in part " + a.title}
		} else if err != nil {
			return err
		}
	}
	d.played = true
	return nil
}

// leave ends what play started, before the services and nodes end.
func (d *demo) leave() {
	if d.pool != nil {
		d.pool.stop()
	}
	if d.programs != nil {
		d.programs.stop()
	}
	if d.migrator != nil {
		d.migrator.kill()
	}
}

// keep waits for Ctrl-C with everything up.
func (d *demo) keep(ctx context.Context, err error) {
	var failed *failedCheck
	if errors.As(err, &failed) {
		d.failed(failed)
	} else if err != nil {
		return
	}
	d.kept(d.cluster.at.servers)
	<-ctx.Done()
}

// eventually asks at a short interval until it holds, for as long as a slow machine may need. Every call of probe says what it saw;
// the last one's words are those of the check.
func (d *demo) eventually(ctx context.Context, what, expected string, probe func() (seen string, ok bool)) error {
	began := time.Now()
	look := time.NewTicker(2 * lookEvery)
	defer look.Stop()
	for {
		seen, ok := probe()
		if ok {
			d.held(what, seen)
			return nil
		}
		if time.Since(began) > d.patience {
			return &failedCheck{what: what, expected: expected, seen: fmt.Sprintf("%s, for %s", seen, took(d.patience))}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// check holds or ends the performance.
func (d *demo) check(ok bool, what, expected, seen string) error {
	if !ok {
		return &failedCheck{what: what, expected: expected, seen: seen}
	}
	d.held(what, seen)
	return nil
}
