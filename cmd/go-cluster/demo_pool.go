//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

const (
	poolRound    = 20 * time.Millisecond  // between two requests to each member
	poolPatience = 300 * time.Millisecond // for a client whose member has just left: it asks where the pool is now and tries again
)

// poolWatch is a client of a pool, for as long as it is not stopped. Every round it wants an answer from each member, at the
// addresses that the cluster gives out.
type poolWatch struct {
	client  *client
	app     string
	members int
	cancel  context.CancelFunc
	ended   chan struct{}

	mu    sync.Mutex
	tally poolTally
}

// poolTally is what such a client has met.
type poolTally struct {
	rounds  int
	retried int           // rounds that hit a member which had just left
	longest time.Duration // that a retried round took
	short   []string      // rounds in which members were missing
}

func watchPool(ctx context.Context, d *demo, app string, members int) (*poolWatch, error) {
	ctx, cancel := context.WithCancel(ctx)
	look := *d.base
	look.globals, look.ctx = globals{Server: d.cluster.at.servers, Cluster: demoName}, ctx
	c, err := look.connect()
	if err != nil {
		cancel()
		return nil, err
	}
	w := &poolWatch{client: c, app: app, members: members, cancel: cancel, ended: make(chan struct{})}
	go w.run(ctx)
	return w, nil
}

func (w *poolWatch) stop() {
	w.cancel()
	<-w.ended
}

// soFar is safe while the watch goes on.
func (w *poolWatch) soFar() poolTally {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tally
	t.short = slices.Clone(t.short)
	return t
}

func (w *poolWatch) run(ctx context.Context) {
	defer close(w.ended)
	defer w.client.close()
	tick := time.NewTicker(poolRound)
	defer tick.Stop()
	var at []string
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n%5 == 0 {
			at = nil
		}
		at = w.round(ctx, at)
	}
}

// round asks every member once, and again at fresh addresses while some are missing.
func (w *poolWatch) round(ctx context.Context, at []string) []string {
	began := time.Now()
	var (
		err error
		met []string
	)
	for try := 0; ; try++ {
		if try > 0 || at == nil {
			if at, err = w.addresses(); err != nil {
				at = nil
			}
		}
		met = answering(ctx, at)
		spent := time.Since(began)
		if ctx.Err() != nil {
			return nil
		}
		whole := len(met) >= w.members
		if !whole && spent < poolPatience {
			continue
		}
		w.mu.Lock()
		w.tally.rounds++
		if try > 0 {
			w.tally.retried++
			w.tally.longest = max(w.tally.longest, spent)
		}
		if !whole {
			w.tally.short = append(w.tally.short, fmt.Sprintf("%d of %d members answered (%s) at %s after %s", len(met), w.members, orNone(met), orNone(at), took(spent)))
		}
		w.mu.Unlock()
		return at
	}
}

func (w *poolWatch) addresses() ([]string, error) {
	a, err := w.client.app(w.app, 0)
	if err != nil {
		return nil, err
	}
	return addressesOf(a), nil
}

// addressesOf returns where the instances of an app answer HTTP.
func addressesOf(a api.AppDetail) []string {
	var at []string
	for _, in := range a.Instances {
		if port := in.Ports["http"]; port > 0 && in.Role != api.RoleStandby {
			at = append(at, "http://"+net.JoinHostPort(in.Address, strconv.Itoa(port)))
		}
	}
	return at
}

// answering returns the members that answer, sorted. A member that moves answers at both ends and is one.
func answering(ctx context.Context, at []string) []string {
	answers := make([]string, len(at))
	var wg sync.WaitGroup
	for i, url := range at {
		wg.Go(func() {
			if text, err := get(ctx, url+"/"); err == nil {
				answers[i] = text
			}
		})
	}
	wg.Wait()
	met := map[string]bool{}
	for _, text := range answers { // "hello from web-0 on node-1"
		if words := strings.Fields(text); len(words) == 5 {
			met[words[2]] = true
		}
	}
	return slices.Sorted(maps.Keys(met))
}

// checkPool judges everything that the client has met so far.
func (d *demo) checkPool(what string) error {
	t := d.pool.soFar()
	seen := fmt.Sprintf("%d rounds of requests to both", t.rounds)
	if t.retried > 0 {
		seen += fmt.Sprintf(", %d of them met a member that had just left and found the new one within %s", t.retried, millisecond(t.longest))
	}
	if len(t.short) > 0 {
		seen = fmt.Sprintf("%d of %d rounds short, the first: %s", len(t.short), t.rounds, t.short[0])
	}
	return d.check(t.rounds > 0 && len(t.short) == 0, what, "every round answered by both members", seen)
}
