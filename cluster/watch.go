package cluster

import (
	"context"
	"maps"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
)

// WatchLabels calls f with the labels of every node, returns, and from then on calls f with each change until ctx ends. f is given
// the whole set, is never called twice at a time, and holds up what follows. A lost connection is waited out; nothing is missed, but
// of several changes of one node meanwhile each is told.
func (p *Platform) WatchLabels(ctx context.Context, f func(nodeID string, labels map[string]string)) error {
	if err := p.fit(); err != nil {
		return err
	}
	if f == nil {
		return invalid("platform %s: WatchLabels: the function is nil", p.cluster)
	}
	nc, err := p.conn(ctx)
	if err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	log, err := transport.OpenLog(limit, nc, p.subjects)
	if err != nil {
		return api.Refuse(api.CodeUnavailable, "platform %s: WatchLabels: %v", p.cluster, err)
	}
	from, err := log.LastSeq(limit)
	if err != nil {
		return api.Refuse(api.CodeUnavailable, "platform %s: WatchLabels: %v", p.cluster, err)
	}
	nodes, err := call[api.ListRequest, []NodeView](limit, p, api.NodeList, api.ListRequest{Meta: api.Meta{MinSeq: from, Actor: p.actor()}})
	if err != nil {
		return err
	}
	told := map[string]uint64{} // revision of the node's events up to which its labels were told
	for _, n := range nodes {
		told[n.ID] = n.Revision
		f(n.ID, maps.Clone(n.Labels))
	}
	go p.follow(ctx, log, from+1, told, f)
	return nil
}

func (p *Platform) follow(ctx context.Context, log *events.Log, next uint64, told map[string]uint64, f func(string, map[string]string)) {
	filter := []string{p.subjects.OfType(events.KindNode, "node.labels.updated")}
	for ctx.Err() == nil {
		err := log.Follow(ctx, next, filter, func(m events.Message) error {
			next = m.Event.Seq + 1
			d, ok := m.Event.Data.(*events.NodeLabelsUpdated)
			if !ok || m.Err != nil || m.Event.Rev <= told[d.Node] {
				return nil
			}
			told[d.Node] = m.Event.Rev
			if ctx.Err() == nil {
				f(d.Node, maps.Clone(d.After))
			}
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("labels: subscription lost, watching anew", "error", err)
		pause(ctx, time.Second)
		// The connection may have been closed with Close: another one is made.
		if nc, err := p.conn(ctx); err == nil {
			if again, err := transport.OpenLog(ctx, nc, p.subjects); err == nil {
				log = again
			}
		}
	}
}
