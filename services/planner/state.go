package planner

import (
	"bytes"
	"compress/gzip"
	"context"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// showState answers with everything that a plan rests on.
func (s *Service) showState(ctx context.Context, r *transport.Request) (any, error) {
	if _, err := transport.Decode[api.ListRequest](r); err != nil {
		return nil, err
	}
	var (
		out   api.StateReply
		state *snapshot.State
	)
	err := s.Question(ctx, r, func(v *projections.Cluster) error {
		out.Seq, state = v.Seq, placement.State(v, s.Seen.Sights(), s.now(v))
		return nil
	})
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(state, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err = w.Write(b); err == nil {
		err = w.Close()
	}
	out.Packed = packed.Bytes()
	return &out, err
}
