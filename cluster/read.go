package cluster

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// What the questions answer with. The fields are those of `go-cluster … -o json`.
type (
	NodeView        = api.NodeView        // one node: labels, scheduling, load, apps
	NodeDetail      = api.NodeDetail      // with its instances
	AppView         = api.AppView         // one app: state, instances wanted and running, nodes
	AppDetail       = api.AppDetail       // with its rules, instances, why it is pending, and what programs declare of it
	InstanceView    = api.InstanceView    // one instance
	MigrationView   = api.MigrationView   // one migration: from, to, why, how far
	MigrationDetail = api.MigrationDetail // with its history, step by step
	PolicyView      = api.PolicyReply     // the policy in force, who it is by, what programs declare
)

// Nodes lists the nodes of the cluster.
func (p *Platform) Nodes(ctx context.Context) ([]NodeView, error) {
	return call[api.ListRequest, []NodeView](ctx, p, api.NodeList, api.ListRequest{Meta: p.question()})
}

// Node shows one node.
func (p *Platform) Node(ctx context.Context, node string) (NodeDetail, error) {
	return call[api.NodeRequest, NodeDetail](ctx, p, api.NodeShow, api.NodeRequest{Meta: p.question(), Node: node})
}

// Apps lists the apps of the cluster, those of other programs too.
func (p *Platform) Apps(ctx context.Context) ([]AppView, error) {
	return call[api.ListRequest, []AppView](ctx, p, api.AppList, api.ListRequest{Meta: p.question()})
}

// App shows one app.
func (p *Platform) App(ctx context.Context, app string) (AppDetail, error) {
	return call[api.AppRequest, AppDetail](ctx, p, api.AppShow, api.AppRequest{Meta: p.question(), App: app})
}

// Migrations lists the open and the latest migrations: of one app, or of all with "".
func (p *Platform) Migrations(ctx context.Context, app string) ([]MigrationView, error) {
	return call[api.ListRequest, []MigrationView](ctx, p, api.MigrationList, api.ListRequest{Meta: p.question(), App: app})
}

// Migration shows one migration with its history.
func (p *Platform) Migration(ctx context.Context, id string) (MigrationDetail, error) {
	return call[api.MigrationRequest, MigrationDetail](ctx, p, api.MigrationShow, api.MigrationRequest{Meta: p.question(), Migration: id})
}

// Policy shows the policy in force.
func (p *Platform) Policy(ctx context.Context) (PolicyView, error) {
	return call[api.ListRequest, PolicyView](ctx, p, api.PolicyShow, api.ListRequest{Meta: p.question()})
}

// Event is one stored event. Data is the JSON of its own fields: see docs/architecture.md.
type Event struct {
	Seq         uint64
	Time        time.Time
	Type        string // "placement.migration.started"
	App, Node   string
	Actor       string
	Cause       string
	Correlation string
	Data        []byte
}

// EventFilter says which events. The zero value is all of them, from the first.
type EventFilter struct {
	Since       uint64 // sequence of the first
	App, Node   string
	Correlation string // of the chain that they belong to
}

// Events calls f with the stored events that the filter lets through, in order, and then with each new one until ctx ends, which is
// no error, or f returns one. A control plane that cannot be reached is waited for.
func (p *Platform) Events(ctx context.Context, filter EventFilter, f func(Event) error) error {
	if err := p.fit(); err != nil {
		return err
	}
	next := max(filter.Since, 1)
	for ctx.Err() == nil {
		rep, err := call[api.EventListRequest, api.EventListReply](ctx, p, api.EventList, api.EventListRequest{Meta: api.Meta{Actor: p.actor()}, SinceSeq: next,
			App: filter.App, Node: filter.Node, Correlation: filter.Correlation, Limit: 500, Wait: spec.Duration(2 * time.Second)})
		switch code := api.CodeOf(err); {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case code != api.CodeUnavailable && code != api.CodeTimeout:
			return err
		default:
			pause(ctx, time.Second)
			continue
		}
		for _, line := range rep.Lines {
			e, err := parseEvent(line)
			if err != nil {
				return api.Refuse(api.CodeInternal, "events: %v", err)
			}
			if err := f(e); err != nil {
				return err
			}
		}
		next = max(next, rep.NextSeq)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func parseEvent(line api.RawLine) (Event, error) {
	var e struct {
		Seq         uint64      `json:"seq"`
		TS          time.Time   `json:"ts"`
		Category    string      `json:"category"`
		Action      string      `json:"action"`
		App         string      `json:"app"`
		Node        string      `json:"node"`
		Actor       string      `json:"actor"`
		Cause       string      `json:"cause"`
		Correlation string      `json:"correlation"`
		Data        api.RawLine `json:"data"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, err
	}
	return Event{Seq: e.Seq, Time: e.TS, Type: e.Category + "." + e.Action, App: e.App, Node: e.Node, Actor: e.Actor, Cause: e.Cause,
		Correlation: e.Correlation, Data: e.Data}, nil
}
