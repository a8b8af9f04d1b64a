//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
)

// demoPrograms are Go programs with an app inside: nodes of their own, though here they share a process.
type demoPrograms struct {
	platforms map[string]*cluster.Platform
	apps      map[string]*cluster.Application
	end       map[string]func() error
	busy      atomic.Bool // the app does not want to move

	mu    sync.Mutex
	turns []programTurn
}

// programTurn is what one epoch has written.
type programTurn struct {
	node        string
	epoch       uint64
	first, last time.Time
	writes      int
}

// programs makes two programs that register the scheduler.
func (d *demo) startPrograms(ctx context.Context) *demoPrograms {
	p := &demoPrograms{platforms: map[string]*cluster.Platform{}, apps: map[string]*cluster.Application{}, end: map[string]func() error{}}
	for _, node := range []string{"go-1", "go-2"} {
		platform := cluster.NewPlatform(demoName, node, d.cluster.at.servers, cluster.DataDir(filepath.Join(d.cluster.home.dir, "programs", node)),
			cluster.Address("127.0.0.1"), cluster.LeaseTTL(demoLease))
		app := cluster.App("scheduler", cluster.Singleton(), cluster.OnLabel("role", "controller"))
		app.OnActive(func(ctx context.Context) error {
			go p.write(ctx, app)
			return nil
		})
		app.OnMigrationStart(func(context.Context, string, string) error {
			if p.busy.Load() {
				return errors.New("a job is under way")
			}
			return nil
		})
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		p.platforms[node], p.apps[node] = platform, app
		p.end[node] = sync.OnceValue(func() error { cancel(); return <-ended })
		go func() { // a bad registration comes out of Run as well
			_ = platform.Register(app)
			ended <- platform.Run(ctx)
		}()
	}
	return p
}

func (p *demoPrograms) stop() {
	for _, end := range p.end {
		_ = end()
	}
}

// write is the app: it writes every few milliseconds, through its gate, for as long as it is let.
func (p *demoPrograms) write(ctx context.Context, app *cluster.Application) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		err := app.Write(ctx, func(ctx context.Context) error {
			here, _ := cluster.Where(ctx)
			p.mu.Lock()
			defer p.mu.Unlock()
			now := time.Now()
			if n := len(p.turns); n == 0 || p.turns[n-1].epoch != here.Epoch {
				p.turns = append(p.turns, programTurn{node: here.Node, epoch: here.Epoch, first: now})
			}
			t := &p.turns[len(p.turns)-1]
			t.last, t.writes = now, t.writes+1
			return nil
		})
		if err != nil {
			return
		}
	}
}

// newest is the last turn.
func (p *demoPrograms) newest() programTurn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.turns) == 0 {
		return programTurn{}
	}
	return p.turns[len(p.turns)-1]
}

// serves checks that the scheduler writes on a node, under an epoch, and that no other program may.
func (d *demo) serves(ctx context.Context, p *demoPrograms, node string, epoch uint64) error {
	what := fmt.Sprintf("scheduler writes on %s under epoch %d, and no other program may", node, epoch)
	return d.eventually(ctx, what, "writes from "+node+" alone", func() (string, bool) {
		t := p.newest()
		for other, app := range p.apps {
			if err := app.Fence(ctx); err == nil && other != node {
				return fmt.Sprintf("the gate is open on %s", other), false
			}
		}
		return fmt.Sprintf("%s on %s, epoch %d", count(t.writes, "write"), t.node, t.epoch), t.node == node && t.epoch == epoch && t.writes > 3
	})
}

// playPrograms has an app that lives inside Go programs move between them.
func playPrograms(ctx context.Context, d *demo) error {
	d.say("Two more nodes, go-1 and go-2, are Go programs: they import cluster and register the singleton scheduler, with a hook that may refuse.")
	d.programs = d.startPrograms(ctx)
	p := d.programs
	joined := func() (string, bool) {
		for _, node := range []string{"go-1", "go-2"} {
			if detail, err := p.platforms[node].Node(ctx, node); err != nil || detail.Status != "ready" {
				return fmt.Sprintf("%s: %s %v", node, detail.Status, err), false
			}
		}
		return "go-1 and go-2 are ready", true
	}
	if err := d.eventually(ctx, "both programs are nodes", "ready", joined); err != nil {
		return err
	}
	if _, err := d.cli(ctx, exitDone, "node label go-1 role=controller"); err != nil {
		return err
	}
	if err := d.serves(ctx, p, "go-1", 1); err != nil {
		return err
	}
	if _, err := d.cli(ctx, exitDone, "node label go-2 role=controller"); err != nil {
		return err
	}
	p.busy.Store(true)
	if _, err := d.cli(ctx, exitRefused, "app move scheduler --from go-1 --to go-2"); err != nil {
		return err
	}
	p.busy.Store(false)
	if _, err := d.cli(ctx, exitDone, "app move scheduler --from go-1 --to go-2"); err != nil {
		return err
	}
	if err := d.serves(ctx, p, "go-2", 2); err != nil {
		return err
	}
	d.say("The program on go-2 ends, as for a deployment.")
	if err := p.end["go-2"](); err != nil {
		return err
	}
	if err := d.serves(ctx, p, "go-1", 3); err != nil {
		return err
	}
	return d.checkTurns(p)
}

// checkTurns wants the writes of each epoch to end before those of the next begin.
func (d *demo) checkTurns(p *demoPrograms) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, ok := "", len(p.turns) == 3
	for i, t := range p.turns {
		seen += fmt.Sprintf("epoch %d on %s: %s; ", t.epoch, t.node, count(t.writes, "write"))
		if i > 0 {
			seen += fmt.Sprintf("pause %s; ", millisecond(t.first.Sub(p.turns[i-1].last)))
			ok = ok && t.epoch == p.turns[i-1].epoch+1 && t.first.After(p.turns[i-1].last)
		}
	}
	return d.check(ok, "each epoch wrote only after the one before had ended", "three turns in order", seen[:max(0, len(seen)-2)])
}
