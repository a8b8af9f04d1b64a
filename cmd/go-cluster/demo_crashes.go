//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/events"
)

// playCrashes kills an app, and then the migrator at the worst moment of a move.
func playCrashes(ctx context.Context, d *demo) error {
	if err := d.killCounter(ctx); err != nil {
		return err
	}
	return d.killMigrator(ctx)
}

func (d *demo) killCounter(ctx context.Context) error {
	before, _, err := d.askCounter(ctx)
	if err != nil {
		return err
	}
	old, err := d.processesFor("counter")
	if err != nil {
		return err
	}
	if err := d.check(len(old) == 1, "counter is one process", "one process", processesLine(old)); err != nil {
		return err
	}
	d.typed(fmt.Sprintf("kill -9 %d   # counter", old[0].pid))
	killed := time.Now()
	if err := syscall.Kill(old[0].pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill counter (pid %d): %w", old[0].pid, err)
	}
	return d.eventually(ctx, "counter is back on the same node, under the same epoch, and counts on", "another process on "+d.home+fmt.Sprintf(", epoch %d, beyond %d", before.Epoch, before.N), func() (string, bool) {
		c, _, err := d.askCounter(ctx)
		if err != nil {
			return err.Error(), false
		}
		running, err := d.processesFor("counter")
		if err != nil {
			return err.Error(), false
		}
		seen := fmt.Sprintf("%s says %d after %d, epoch %d, %s after the kill", processesLine(running), c.N, before.N, c.Epoch, took(time.Since(killed)))
		return seen, len(running) == 1 && running[0].pid != old[0].pid && c.Node == d.home && c.Epoch == before.Epoch && c.N > before.N
	})
}

// killMigrator kills the migrator when the counter has left its old node and not yet started on the new one.
func (d *demo) killMigrator(ctx context.Context) error {
	if _, err := d.cli(ctx, exitDone, "node label "+d.away+" role=compute"); err != nil {
		return err
	}
	head, err := d.lastSeq(ctx)
	if err != nil {
		return err
	}
	subjects, err := events.NewSubjects(demoName)
	if err != nil {
		return err
	}
	granted, err := d.cluster.at.nc.SubscribeSync(subjects.Event(events.App("counter"), "placement.leadership.granted", "*"))
	if err != nil {
		return err
	}
	defer func() { _ = granted.Unsubscribe() }()
	if err := d.cluster.at.nc.Flush(); err != nil {
		return err
	}
	moved := make(chan error, 1)
	moveCtx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	go func() {
		_, err := d.cli(moveCtx, exitDone, "app move counter --to "+d.away)
		moved <- err
	}()
	if err := awaitGrant(moveCtx, granted, moved); err != nil {
		return err
	}
	pid := d.migrator.pid
	d.migrator.kill()
	d.typed(fmt.Sprintf("kill -9 %d   # go-cluster serve migrator", pid))
	log, err := d.logSince(ctx, head+1)
	if err != nil {
		return err
	}
	running, err := d.processesFor("counter")
	if err != nil {
		return err
	}
	seen := "nothing about counter"
	ended := false
	for _, e := range log {
		if e.App == "counter" {
			text, _ := phrase(e.kind(), e.step())
			seen, ended = join(e.kind(), text), ended || e.kind() == "placement.migration.completed" || e.kind() == "placement.migration.failed"
		}
	}
	// As a rule counter runs nowhere now. On a slow machine the kill may come a step later.
	gone := !slices.ContainsFunc(running, func(p appProcess) bool { return p.node == d.home })
	err = d.check(!ended && gone, "the move is half done: counter has left "+d.home+", and nobody leads it on", "no process on "+d.home+" and a move under way",
		fmt.Sprintf("the last event is %s; processes: %s", seen, processesLine(running)))
	if err != nil {
		return err
	}
	d.typed("go-cluster serve migrator")
	if d.migrator, err = d.cluster.startMigrator(ctx, 2); err != nil {
		return err
	}
	if err := <-moved; err != nil {
		return err
	}
	if err := d.counterAnswers(ctx, d.away); err != nil {
		return err
	}
	d.home, d.away = d.away, d.home
	return d.checkPool("the client of web has met both members from the start until now")
}

// awaitGrant returns when a grant is on its way to the log, or when the move ended without.
func awaitGrant(ctx context.Context, granted *nats.Subscription, moved <-chan error) error {
	got := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, err := granted.NextMsgWithContext(ctx)
		got <- err
	}()
	select {
	case err := <-got:
		return err
	case err := <-moved:
		if err == nil {
			err = &failedCheck{what: "app move counter", expected: "a grant of leadership", seen: "a move without one"}
		}
		return err
	}
}
