//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/examples/ledger"
	"github.com/go-cluster/go-cluster/spec"
)

const (
	ledgerApp   = "ledger"
	ledgerMoves = 3
	ledgerPace  = 5 * time.Millisecond
)

// playLedger moves an app with a database and a standby while a client writes, and holds what the database has against what the client was told.
func playLedger(ctx context.Context, d *demo) error {
	d.say("ledger keeps a SQLite database, and a copy of it on another node. A client writes to it all the time, and keeps a journal of what was acknowledged.")
	file, err := d.cluster.writeSpec(ledger.Spec, func(a *spec.App) {
		a.Standbys, a.Migration.StepTimeout = 1, spec.Duration(20*time.Second)
	})
	if err != nil {
		return err
	}
	if _, err := d.cli(ctx, exitDone, "app apply -f "+file); err != nil {
		return err
	}
	w, err := writeLedger(ctx, d)
	if err != nil {
		return err
	}
	defer w.stop()
	began, err := d.lastSeq(ctx)
	if err != nil {
		return err
	}
	for range ledgerMoves {
		if err := w.more(ctx); err != nil {
			return err
		}
		to, err := d.ledgerStandby(ctx)
		if err != nil {
			return err
		}
		if _, err := d.cli(ctx, exitDone, "app move "+ledgerApp); err != nil {
			return err
		}
		at, err := d.ledgerShown(ctx)
		if err != nil {
			return err
		}
		if err := d.check(at[api.RoleActive].Node == to, "a move that names no target goes where the copy is", "ledger on "+to, "ledger on "+at[api.RoleActive].Node); err != nil {
			return err
		}
	}
	if err := w.more(ctx); err != nil {
		return err
	}
	w.stop()
	if err := d.ledgerSteps(ctx, began); err != nil {
		return err
	}
	if err := d.ledgerIsWhole(ctx, w); err != nil {
		return err
	}
	_, err = d.cli(ctx, exitDone, "app remove "+ledgerApp)
	return err
}

// ledgerShown returns the instance of the ledger and its standby, by role.
func (d *demo) ledgerShown(ctx context.Context) (map[string]api.InstanceView, error) {
	a, err := lookUp[api.AppDetail](ctx, d, "app show "+ledgerApp)
	at := map[string]api.InstanceView{}
	for _, in := range a.Instances {
		at[in.Role] = in
	}
	return at, err
}

// ledgerStandby waits until the standby of the ledger follows the epoch that is written to, and returns its node.
func (d *demo) ledgerStandby(ctx context.Context) (node string, err error) {
	return node, d.eventually(ctx, "a copy is close behind on another node", "a standby with a position of the same epoch", func() (string, bool) {
		at, err := d.ledgerShown(ctx)
		if err != nil {
			return err.Error(), false
		}
		active, standby := at[api.RoleActive], at[api.RoleStandby]
		node = standby.Node
		if active.Data == nil || standby.Data == nil {
			return "no position of both", false
		}
		led, err1 := events.ParsePosition(active.Data.Position)
		has, err2 := events.ParsePosition(standby.Data.Position)
		return fmt.Sprintf("%s at %s, %s at %s", active.Node, led, standby.Node, has), err1 == nil && err2 == nil && has.Seq > 0 && has.Epoch == led.Epoch
	})
}

// ledgerSteps shows the last move of the ledger, step by step.
func (d *demo) ledgerSteps(ctx context.Context, since uint64) error {
	log, err := d.logSince(ctx, since+1)
	if err != nil {
		return err
	}
	id := ""
	for _, e := range log {
		for _, m := range e.admitted() {
			if m.Instance == ledgerApp+"-0" && m.From != "" && m.To != "" {
				id = m.Migration
			}
		}
	}
	if id == "" {
		return &failedCheck{what: "the last move of the ledger", expected: "an admission of it", seen: "none"}
	}
	_, err = d.cli(ctx, exitDone, "migration show "+id)
	return err
}

// ledgerIsWhole holds the database against the client's journal.
func (d *demo) ledgerIsWhole(ctx context.Context, w *ledgerClient) error {
	var have []ledger.Entry
	if err := d.askLedger(ctx, http.MethodGet, "/entries", &have); err != nil {
		return err
	}
	var verdict string
	if err := d.askLedger(ctx, http.MethodGet, "/check", &verdict); err != nil {
		return err
	}
	stored, twice, disorder := map[int64]ledger.Entry{}, 0, 0
	for _, e := range have {
		if _, again := stored[e.N]; again {
			twice++
		} else if e.N != int64(len(stored)+1) {
			disorder++
		}
		stored[e.N] = e
	}
	lost := 0
	for _, e := range w.acked {
		if stored[e.N].ID != e.ID {
			lost++
		}
	}
	seen := fmt.Sprintf("%d acknowledged, %d lost, %d there twice, %d out of order; integrity_check %s; longest pause %s", len(w.acked), lost, twice, disorder, verdict, millisecond(w.longest))
	return d.check(len(w.acked) > 0 && lost+twice+disorder == 0 && verdict == "ok", fmt.Sprintf("%d moves under writes lose nothing", ledgerMoves), "0 lost, 0 twice, integrity_check ok", seen)
}

func (d *demo) askLedger(ctx context.Context, method, path string, answer any) error {
	a, err := lookUp[api.AppDetail](ctx, d, "app show "+ledgerApp)
	if err != nil {
		return err
	}
	at := addressesOf(a)
	if len(at) != 1 {
		return fmt.Errorf("%s is at %s", ledgerApp, orNone(at))
	}
	return askJSON(ctx, method, at[0]+path, answer)
}

func askJSON(ctx context.Context, method, url string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	r, err := demoHTTP.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, r.Status, strings.TrimSpace(string(b)))
	}
	return json.Unmarshal(b, answer)
}

// ledgerClient writes one entry after the other, each until it is acknowledged.
type ledgerClient struct {
	client *client
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	acked   []ledger.Entry
	longest time.Duration // without an acknowledgement
}

func writeLedger(ctx context.Context, d *demo) (*ledgerClient, error) {
	ctx, cancel := context.WithCancel(ctx)
	look := *d.base
	look.globals, look.ctx = globals{Server: d.cluster.at.servers, Cluster: demoName}, ctx
	c, err := look.connect()
	if err != nil {
		cancel()
		return nil, err
	}
	w := &ledgerClient{client: c, cancel: cancel, ended: make(chan struct{})}
	go w.run(ctx)
	return w, nil
}

func (w *ledgerClient) stop() {
	w.cancel()
	<-w.ended
}

func (w *ledgerClient) run(ctx context.Context) {
	defer close(w.ended)
	defer w.client.close()
	tick := time.NewTicker(ledgerPace)
	defer tick.Stop()
	at, last := "", time.Now()
	for n := int64(1); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if at == "" {
			if a, err := w.client.app(ledgerApp, 0); err == nil {
				at = strings.Join(addressesOf(a), "")
			}
			if at == "" {
				continue
			}
		}
		var e ledger.Entry
		if err := askJSON(ctx, http.MethodPost, fmt.Sprintf("%s/entries?writer=demo&n=%d", at, n), &e); err != nil {
			at = ""
			continue
		}
		w.mu.Lock()
		w.acked = append(w.acked, e)
		w.longest, last = max(w.longest, time.Since(last)), time.Now()
		w.mu.Unlock()
		n++
	}
}

// more waits until entries are acknowledged that were asked for after the call.
func (w *ledgerClient) more(ctx context.Context) error {
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.acked)
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for n := count(); count() < n+20; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
