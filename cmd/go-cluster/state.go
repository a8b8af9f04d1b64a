package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// stateCommand is `go-cluster state`.
type stateCommand struct{}

// Help is printed by kong.
func (*stateCommand) Help() string {
	return `Nodes, apps, instances, moves under way and guardrails, as one JSON document that go-cluster plan reads.

Examples:
  go-cluster state -o json > state.json
  go-cluster plan --state state.json --drain node-1`
}

// Run is called by kong.
func (*stateCommand) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	rep, err := call[api.ListRequest, api.StateReply](c, api.StateShow, api.ListRequest{Meta: c.question(0)})
	if err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(rep.Packed))
	if err != nil {
		return fmt.Errorf("unpack the state: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(r, snapshot.MaxStateBytes))
	if err != nil {
		return fmt.Errorf("unpack the state: %w", err)
	}
	if !s.structured() { // it is data whoever asks
		s.Output = formatJSON
	}
	return s.raw(jsontext.Value(b), jsontext.WithIndent("  "))
}
