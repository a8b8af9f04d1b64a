package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

type freezeCommand struct {
	Why string `arg:"" optional:"" help:"Why; everybody who is held up reads it."`
}

// Help is printed by kong.
func (*freezeCommand) Help() string {
	return `Moves under way end; none starts, except those that bring back what a lost node ran, and forced ones.

Examples:
  go-cluster freeze "storage maintenance until 06:00"`
}

// Run is called by kong.
func (cmd *freezeCommand) Run(s *session) error {
	return s.freezing(api.MovesFreeze, api.FreezeRequest{Why: strings.TrimSpace(cmd.Why)}, func(changed bool, _ map[string]string) string {
		if changed {
			return "moves are frozen; lift it with: go-cluster unfreeze"
		}
		return "moves were frozen already, and stay so for the reason given then"
	})
}

type unfreezeCommand struct {
	Source string `enum:"operator,safety,policy" default:"operator" placeholder:"SOURCE" help:"Lift the freeze of another source: safety or policy. Default: the operator's."`
}

// Help is printed by kong.
func (*unfreezeCommand) Help() string {
	return `Each source lifts its own freeze. A safety freeze, set when more than half of the nodes fall silent together, ends by itself once
they are heard again; lifting it by hand says that they are really gone.

Examples:
  go-cluster unfreeze
  go-cluster unfreeze --source safety`
}

// Run is called by kong.
func (cmd *unfreezeCommand) Run(s *session) error {
	return s.freezing(api.MovesUnfreeze, api.FreezeRequest{Source: cmd.Source}, func(changed bool, still map[string]string) string {
		switch {
		case changed:
			return "freeze lifted"
		case len(still) > 0:
			return "there was no freeze by " + cmp.Or(cmd.Source, events.FreezeOperator)
		}
		return "moves were not frozen"
	})
}

// freezing changes one freeze, and names what is frozen all the same: another source may have its own, and a reason given before stays.
func (s *session) freezing(ep api.Endpoint, req api.FreezeRequest, outcome func(changed bool, still map[string]string) string) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	req.Meta = c.command()
	ack, err := call[api.FreezeRequest, api.Ack](c, ep, req)
	if err != nil {
		return err
	}
	still := map[string]string{}
	if ep == api.MovesUnfreeze || !ack.Changed {
		still = c.frozen(ack.Seq)
	}
	if err := c.print(ack, func() { c.sayf("%s", outcome(ack.Changed, still)) }); err != nil {
		return err
	}
	c.warnFrozen(still)
	return nil
}

// frozen asks who has moves frozen, and why. That it cannot be asked costs a warning only.
func (c *client) frozen(minSeq uint64) map[string]string {
	ctx, cancel := context.WithTimeout(c.ctx, logLimit)
	defer cancel()
	policy, err := callCtx[api.ListRequest, api.PolicyReply](ctx, c, api.PolicyShow, api.ListRequest{Meta: c.question(minSeq)})
	if err != nil {
		return nil
	}
	return policy.Frozen
}

func (c *client) warnFrozen(frozen map[string]string) {
	for _, source := range slices.Sorted(maps.Keys(frozen)) {
		c.notef("%s", styleOf(c.err).warn(join("moves are frozen by "+source, frozen[source])))
	}
}
