//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/examples/counter"
	"github.com/go-cluster/go-cluster/examples/web"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

const (
	lookEvery   = 5 * time.Millisecond
	sampleLimit = 5 * time.Second
)

// leasesOf returns the sequence of each node's lease before its agent is started; 0 is none.
func leasesOf(ctx context.Context, b *services.Base, nodes []string) (map[string]uint64, error) {
	before := map[string]uint64{}
	for _, id := range nodes {
		r, _, err := b.Leases.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		before[id] = r.Seq
	}
	return before, nil
}

// awaitDev returns when all services answer and all nodes are ready. A node that the log still calls ready, of a run that was
// killed, counts only when its agent of this run has written its lease.
func awaitDev(ctx context.Context, p *controlPlane, before map[string]uint64) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for p.ready() != nil || !allJoined(p.base, before) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return awaitAnswers(ctx, p.base.NC, p.base.Config.Replica, p.names)
}

func allJoined(b *services.Base, before map[string]uint64) bool {
	joined := true
	b.Replica.View(func(v *projections.Cluster) {
		for id, seq := range before {
			n := v.Nodes[id]
			l, seen := b.Seen.Lease(id)
			joined = joined && n != nil && n.Status == projections.StatusReady && seen && l.Seq > seq && l.Lease.State == api.LeaseHeld && l.Lease.Inc == n.Inc
		}
	})
	return joined
}

// awaitAnswers pings until each of these services of the replica has answered.
func awaitAnswers(ctx context.Context, nc *nats.Conn, replica string, names []string) error {
	missing := map[string]bool{}
	for _, name := range names {
		missing[name] = true
	}
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	for len(missing) > 0 {
		if err := nc.PublishRequest("$SRV.PING", inbox, nil); err != nil {
			return err
		}
		for round := time.Now().Add(10 * lookEvery); len(missing) > 0 && time.Now().Before(round); {
			m, err := sub.NextMsg(time.Until(round))
			if err != nil {
				break // the round is over
			}
			var pong struct {
				Metadata map[string]string `json:"metadata"`
			}
			if json.Unmarshal(m.Data, &pong) == nil && pong.Metadata["replica"] == replica {
				delete(missing, pong.Metadata["service"])
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if nc.IsClosed() {
			return nats.ErrConnectionClosed
		}
	}
	return nil
}

// applySamples declares the sample apps that this cluster has never had: one that was changed or removed stays so. It returns when
// those run, so that the first look at them shows what they do; when they do not come up soon, it is for that look to say why.
func applySamples(ctx context.Context, b *services.Base, home *devHome) error {
	var applied []string
	for _, file := range [][]byte{counter.Spec, web.Spec} {
		apps, err := spec.DecodeApps(file)
		if err != nil {
			return err
		}
		for _, app := range apps {
			known := false
			b.Replica.View(func(v *projections.Cluster) { known = v.Heads[events.App(app.Name)] != (events.Head{}) })
			if known {
				continue
			}
			if app.Name == "counter" { // all nodes are one machine here, so the count can go on where the app goes
				app.Process.Env = map[string]string{"JOURNAL": home.counterJournal()}
			}
			req := api.ApplyRequest{Meta: transport.NewMeta("dev", time.Now(), time.Minute), Spec: app}
			if _, err := transport.Call[api.ApplyRequest, api.ApplyReply](ctx, b.NC, b.Subjects, api.AppApply, req); err != nil {
				return fmt.Errorf("apply %s: %w", app.Name, err)
			}
			applied = append(applied, app.Name)
		}
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	late := time.NewTimer(sampleLimit)
	defer late.Stop()
	for !allRun(b, applied) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return nil
		case <-look.C:
		}
	}
	return nil
}

func allRun(b *services.Base, apps []string) bool {
	run := true
	b.Replica.View(func(v *projections.Cluster) {
		for _, name := range apps {
			a := v.Apps[name]
			run = run && a != nil && projections.AppView(v, a).State == api.AppRunning
		}
	})
	return run
}

// hint tells a person what to do next.
func (cmd *devCommand) hint(s *session, servers, cluster string) {
	s.notef("%s", styleOf(s.err).faint("in another terminal:"))
	if servers != nats.DefaultURL {
		s.notef("  export NATS_URL=%s", transport.Redacted(servers))
	}
	if cmd.NATS != "" { // where other clusters may be
		s.notef("  export GO_CLUSTER=%s", cluster)
	}
	if cmd.NoDemo {
		s.notef("  go-cluster node list\n  go-cluster app apply -f FILE\n  go-cluster events -f")
		return
	}
	s.notef("  go-cluster app list\n  go-cluster app move counter\n  go-cluster node drain node-1")
}
