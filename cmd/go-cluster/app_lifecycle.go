package main

import (
	"github.com/go-cluster/go-cluster/api"
)

type appRemove struct {
	App         string `arg:"" predictor:"app" help:"App to remove."`
	DeleteLocal bool   `help:"Also delete its local data on every node."`
	FollowFlags
}

// Help is printed by kong.
func (*appRemove) Help() string {
	return `Every instance is stopped gracefully. Data on the nodes stays unless --delete-local is given.

Examples:
  go-cluster app remove convex`
}

// Run is called by kong.
func (cmd *appRemove) Run(s *session) error {
	return s.lifecycle("remove", api.AppRemove, cmd.App, cmd.DeleteLocal, cmd.Detach)
}

type appRestart struct {
	App string `arg:"" predictor:"app" help:"App to restart."`
	FollowFlags
}

// Help is printed by kong.
func (*appRestart) Help() string {
	return `Instances are replaced one after the other, as many at once as the app's migration.max_parallel says.

Examples:
  go-cluster app restart convex`
}

// Run is called by kong.
func (cmd *appRestart) Run(s *session) error {
	return s.lifecycle("restart", api.AppRestart, cmd.App, false, cmd.Detach)
}

// lifecycle is a command about a whole app, followed to its end.
func (s *session) lifecycle(verb string, ep api.Endpoint, app string, deleteLocal, detach bool) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	ack, err := call[api.AppRequest, api.Ack](c, ep, api.AppRequest{Meta: c.command(), App: app, DeleteLocal: deleteLocal})
	if err != nil {
		return err
	}
	w := &watched{id: ack.Order, kind: verb, name: app, seq: ack.Seq}
	if detach {
		return c.accepted(ack, verb+" "+app+" accepted", w.lookHint())
	}
	return c.follow(newProgress(w), ack.Seq)
}
