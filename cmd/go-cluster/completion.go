package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	predict "github.com/posener/complete"

	"github.com/go-cluster/go-cluster/api"
)

// completionLimit bounds a completion that asks the cluster: a shell that hangs at a key press is worse than one that offers
// nothing.
const completionLimit = 250 * time.Millisecond

// complete answers the shell, which has put its line into COMP_LINE. Nothing but candidates is ever printed.
func complete(parser *kong.Kong, s *session) {
	line := os.Getenv("COMP_LINE")
	kongcompletion.Register(parser,
		kongcompletion.WithExitFunc(func(int) {}),
		kongcompletion.WithErrorHandler(func(error) {}),
		kongcompletion.WithPredictors(map[string]predict.Predictor{
			"file":      predict.PredictFiles("*"),
			"format":    predict.PredictSet(formats...),
			"app":       s.candidates(line, appNames),
			"node":      s.candidates(line, nodeNames),
			"migration": s.candidates(line, migrationIDs),
		}),
	)
}

// candidates asks the cluster that the line names, and offers nothing when it does not answer in time.
func (s *session) candidates(line string, names func(context.Context, *client) ([]string, error)) predict.Predictor {
	return predict.PredictFunc(func(predict.Args) []string {
		ctx, cancel := context.WithTimeout(s.ctx, completionLimit)
		defer cancel()
		quiet := &session{globals: globalsOf(strings.Fields(line)), ctx: ctx, out: io.Discard, err: io.Discard}
		answer := make(chan []string, 1)
		go func() {
			c, err := quiet.connectWithin(completionLimit)
			if err != nil {
				answer <- nil
				return
			}
			defer c.close()
			found, _ := names(ctx, c)
			answer <- found
		}()
		select {
		case found := <-answer:
			return found
		case <-ctx.Done(): // resolving a name or a credential may ignore the limit
			return nil
		}
	})
}

// globalsOf reads the flags that say which cluster is meant from an unfinished line, over the environment.
func globalsOf(words []string) globals {
	g := globals{Server: os.Getenv("NATS_URL"), Context: os.Getenv("NATS_CONTEXT"), Creds: os.Getenv("NATS_CREDS"), Cluster: os.Getenv("GO_CLUSTER")}
	flags := map[string]*string{"-s": &g.Server, "--server": &g.Server, "--context": &g.Context, "--creds": &g.Creds, "--cluster": &g.Cluster}
	for i, w := range words {
		name, value, joined := strings.Cut(w, "=")
		if !joined && i+1 < len(words) {
			value = words[i+1]
		}
		if target := flags[name]; target != nil && value != "" {
			*target = value
		}
	}
	return g
}

func appNames(ctx context.Context, c *client) ([]string, error) {
	apps, err := callCtx[api.ListRequest, []api.AppView](ctx, c, api.AppList, api.ListRequest{Meta: c.question(0)})
	names := make([]string, len(apps))
	for i, a := range apps {
		names[i] = a.Name
	}
	return names, err
}

func nodeNames(ctx context.Context, c *client) ([]string, error) {
	nodes, err := callCtx[api.ListRequest, []api.NodeView](ctx, c, api.NodeList, api.ListRequest{Meta: c.question(0)})
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.ID
	}
	return names, err
}

func migrationIDs(ctx context.Context, c *client) ([]string, error) {
	views, err := callCtx[api.ListRequest, []api.MigrationView](ctx, c, api.MigrationList, api.ListRequest{Meta: c.question(0)})
	ids := make([]string, len(views))
	for i, v := range views {
		ids[i] = v.ID
	}
	return ids, err
}
