//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-cluster/go-cluster/api"
)

// playNowhere takes the last node from the counter: refused, then allowed, then healed by a label.
func playNowhere(ctx context.Context, d *demo) error {
	before, err := d.processesFor("counter")
	if err != nil {
		return err
	}
	d.say("%s is the last node with role=compute:", d.home)
	line := "node label " + d.home + " role=storage"
	text, err := d.cli(ctx, exitRefused, line)
	if err != nil {
		return err
	}
	n, err := lookUp[api.NodeDetail](ctx, d, "node show "+d.home)
	if err != nil {
		return err
	}
	after, err := d.processesFor("counter")
	if err != nil {
		return err
	}
	missing := absent(text, append([]string{"counter-0", "role=compute"}, d.cluster.nodes.ids...))
	if err := d.check(len(missing) == 0 && n.Labels["role"] == "compute" && processesLine(before) == processesLine(after),
		"refused with a reason for every node, and nothing changed", "a reason for each of "+strings.Join(d.cluster.nodes.ids, ", ")+"; role=compute; "+processesLine(before),
		fmt.Sprintf("reasons without: %s; role=%s; %s", orNone(missing), n.Labels["role"], processesLine(after))); err != nil {
		return err
	}

	if _, err := d.cli(ctx, exitPending, line+" --allow-pending"); err != nil {
		return err
	}
	err = d.eventually(ctx, "counter is Pending, says why, and runs nowhere", "pending, no process", func() (string, bool) {
		a, err := lookUp[api.AppDetail](ctx, d, "app show counter")
		if err != nil {
			return err.Error(), false
		}
		running, err := d.processesFor("counter")
		if err != nil {
			return err.Error(), false
		}
		nodes := map[string]bool{}
		for _, r := range a.Pending {
			nodes[r.Node] = true
		}
		seen := fmt.Sprintf("%s: %s (reasons for %s), processes: %s", a.State, a.Why, count(len(nodes), "node"), processesLine(running))
		return seen, a.State == api.AppPending && a.Why != "" && len(nodes) == len(d.cluster.nodes.ids) && len(running) == 0
	})
	if err != nil {
		return err
	}

	d.say("%s takes the role. Nobody starts counter; it comes back by itself:", d.away)
	if _, err := d.cli(ctx, exitDone, "node label "+d.away+" role=compute --wait"); err != nil {
		return err
	}
	if err := d.counterAnswers(ctx, d.away); err != nil {
		return err
	}
	d.home, d.away = d.away, d.home
	c, _, err := d.askCounter(ctx)
	if err != nil {
		return err
	}
	d.pending = c.Epoch
	return nil
}

// absent are those of want that a text does not have.
func absent(text string, want []string) []string {
	var out []string
	for _, w := range want {
		if !strings.Contains(text, w) {
			out = append(out, w)
		}
	}
	return out
}
