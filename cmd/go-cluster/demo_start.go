//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/examples/counter"
	"github.com/go-cluster/go-cluster/examples/web"
	"github.com/go-cluster/go-cluster/spec"
)

const demoMembers = 2

// playStart declares both apps and checks that they run.
func playStart(ctx context.Context, d *demo) error {
	d.say("NATS answers on %s. counter is a singleton that needs role=compute; web is a pool of %d.", d.cluster.at.servers, demoMembers)
	counterFile, err := d.cluster.writeSpec(counter.Spec, func(a *spec.App) {
		a.Require = []string{"role=compute"}
		a.Process.Env = map[string]string{"JOURNAL": d.cluster.home.counterJournal(), "INTERVAL": "20ms"}
	})
	if err != nil {
		return err
	}
	webFile, err := d.cluster.writeSpec(web.Spec, func(a *spec.App) {
		// Its first member starts where the counter is, so that there are two to move; later it may be anywhere.
		a.Prefer = []spec.Preference{{Label: "role=compute"}}
	})
	if err != nil {
		return err
	}
	for _, line := range []string{
		"node label node-1 role=compute zone=us-east-1a",
		"node label node-3 role=storage zone=us-east-1a",
		"app apply -f " + counterFile + " -f " + webFile,
		"node label node-2 role=compute zone=us-east-1a",
		"app list",
	} {
		if _, err := d.cli(ctx, exitDone, line); err != nil {
			return err
		}
	}
	if d.interfere != nil {
		if err := d.interfere(d); err != nil {
			return err
		}
	}
	if err := d.counterAnswers(ctx, "node-1"); err != nil {
		return err
	}
	if err := d.webAnswers(ctx); err != nil {
		return err
	}
	d.home, d.away = "node-1", "node-2"
	d.pool, err = watchPool(ctx, d, "web", demoMembers)
	return err
}

// counted is what the counter answers.
type counted struct {
	Node  string `json:"node"`
	Epoch uint64 `json:"epoch"`
	N     uint64 `json:"n"`
}

// askCounter asks the counter itself, where the cluster says that it is.
func (d *demo) askCounter(ctx context.Context) (c counted, url string, err error) {
	a, err := lookUp[api.AppDetail](ctx, d, "app show counter")
	if err != nil {
		return c, "", err
	}
	at := addressesOf(a)
	if len(at) == 0 {
		return c, "", fmt.Errorf("the cluster gives out no address of counter, it is %s", a.State)
	}
	url = at[len(at)-1] + "/count"
	text, err := get(ctx, url)
	if err != nil {
		return c, url, err
	}
	return c, url, json.Unmarshal([]byte(text), &c)
}

// counterAnswers checks that the counter answers on a node, and that it is one process and no more.
func (d *demo) counterAnswers(ctx context.Context, node string) error {
	return d.eventually(ctx, "counter answers on "+node+", one process in all", "an answer from "+node+" and one process", func() (string, bool) {
		c, url, err := d.askCounter(ctx)
		if err != nil {
			return err.Error(), false
		}
		running, err := d.processesFor("counter")
		if err != nil {
			return err.Error(), false
		}
		seen := fmt.Sprintf("%s says %d, epoch %d; %s", strings.TrimPrefix(url, "http://"), c.N, c.Epoch, processesLine(running))
		return seen, c.Node == node && c.N > 0 && len(running) == 1 && running[0].node == node
	})
}

// webAnswers checks that both members answer, each on another node, and none on the nodes that are named.
func (d *demo) webAnswers(ctx context.Context, never ...string) error {
	what := "web answers twice, on two nodes"
	if len(never) > 0 {
		what += " other than " + strings.Join(never, ", ")
	}
	return d.eventually(ctx, what, "hello from web-0 and web-1", func() (string, bool) {
		a, err := lookUp[api.AppDetail](ctx, d, "app show web")
		if err != nil {
			return err.Error(), false
		}
		var (
			said  []string
			nodes = map[string]bool{}
			names = map[string]bool{}
		)
		for _, url := range addressesOf(a) {
			text, err := get(ctx, url+"/")
			if err != nil {
				return err.Error(), false
			}
			said = append(said, text)
			if words := strings.Fields(text); len(words) == 5 {
				names[words[2]], nodes[words[4]] = true, true
			}
		}
		for _, n := range never {
			if nodes[n] {
				return strings.Join(said, "; "), false
			}
		}
		return strings.Join(said, "; "), len(said) == demoMembers && len(nodes) == demoMembers && len(names) == demoMembers
	})
}
