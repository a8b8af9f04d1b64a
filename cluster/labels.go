package cluster

import (
	"context"
	"maps"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

// updateLimit is how long UpdateNodeLabels may take.
const updateLimit = 10 * time.Second

// UpdateNodeLabels sets labels of any node; those that are not named stay. It returns once the change is stored, within 10 s. What
// no longer fits moves after that.
func (p *Platform) UpdateNodeLabels(node string, labels map[string]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), updateLimit)
	defer cancel()
	return p.label(ctx, node, labels, nil)
}

// SetLabels sets labels of this program's node; those that are not named stay.
func (p *Platform) SetLabels(ctx context.Context, labels map[string]string) error {
	return p.label(ctx, p.node, labels, nil)
}

// RemoveLabel removes labels from this program's node. One that is not there is no error.
func (p *Platform) RemoveLabel(ctx context.Context, keys ...string) error {
	return p.label(ctx, p.node, nil, keys)
}

func (p *Platform) label(ctx context.Context, node string, set map[string]string, remove []string) error {
	if err := p.fit(); err != nil {
		return err
	}
	if node == "" {
		return invalid("platform %s: label: the program is not a node: NewPlatform got no node name", p.cluster)
	}
	if len(set) == 0 && len(remove) == 0 {
		return nil
	}
	rep, err := call[api.LabelRequest, api.LabelReply](ctx, p, api.NodeLabel, api.LabelRequest{Meta: p.command(), Node: node, Set: maps.Clone(set), Remove: remove})
	p.saw(rep.Seq)
	return err
}
