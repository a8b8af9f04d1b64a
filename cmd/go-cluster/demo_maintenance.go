//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
)

// playMaintenance is the maintenance of a node from the cordon to the rebalance.
func playMaintenance(ctx context.Context, d *demo) error {
	const node = "node-1"
	before, err := d.processesOn(node)
	if err != nil {
		return err
	}
	if err := d.check(len(before) == 2, node+" runs two apps", "a process of counter and one of web", processesLine(before)); err != nil {
		return err
	}
	addresses, err := d.addressesOn(ctx, node)
	if err != nil {
		return err
	}
	for _, line := range []string{"node cordon " + node, "node drain " + node + " --timeout 5m", "app list"} {
		if _, err := d.cli(ctx, exitDone, line); err != nil {
			return err
		}
	}
	if err := d.isEmpty(ctx, node, addresses); err != nil {
		return err
	}
	if err := d.counterAnswers(ctx, d.away); err != nil {
		return err
	}
	d.home, d.away = d.away, d.home
	if err := d.webAnswers(ctx, node); err != nil {
		return err
	}
	if err := d.checkPool("a client of web met both members all the time"); err != nil {
		return err
	}

	d.say("The machine could be off now. It comes back:")
	if _, err := d.cli(ctx, exitDone, "node uncordon "+node); err != nil {
		return err
	}
	if err := d.nothingLanded(ctx, node); err != nil {
		return err
	}
	return d.rebalance(ctx)
}

// addressesOn returns where the instances on a node answer HTTP.
func (d *demo) addressesOn(ctx context.Context, node string) ([]string, error) {
	n, err := lookUp[api.NodeDetail](ctx, d, "node show "+node)
	return addressesOf(api.AppDetail{Instances: n.Instances}), err
}

// isEmpty checks by the cluster's word, by the kernel's and by HTTP that nothing runs on a node any more.
func (d *demo) isEmpty(ctx context.Context, node string, addresses []string) error {
	return d.eventually(ctx, "nothing runs on "+node, "no instance, no process, and nobody at "+strings.Join(addresses, " and "), func() (string, bool) {
		apps, err := lookUp[[]api.AppView](ctx, d, "app list --node "+node)
		if err != nil {
			return err.Error(), false
		}
		running, err := d.processesOn(node)
		if err != nil {
			return err.Error(), false
		}
		var answer []string
		for _, url := range addresses {
			if _, err := get(ctx, url+"/health"); err == nil {
				answer = append(answer, url)
			}
		}
		seen := fmt.Sprintf("%s; processes: %s; answering at the %d old addresses: %s", count(len(apps), "app"), processesLine(running), len(addresses), orNone(answer))
		return seen, len(apps)+len(running)+len(answer) == 0 && len(addresses) == 2
	})
}

// nothingLanded checks the log: between the last cordon of a node and its end, no move to it was admitted.
func (d *demo) nothingLanded(ctx context.Context, node string) error {
	log, err := d.logSince(ctx, 1)
	if err != nil {
		return err
	}
	var (
		cordoned, uncordoned uint64
		left                 int
		landed               []string
	)
	for _, e := range log {
		switch {
		case e.Node == node && e.kind() == "node.scheduling.cordoned":
			cordoned, uncordoned, left, landed = e.Seq, 0, 0, nil
		case e.Node == node && e.kind() == "node.scheduling.uncordoned":
			uncordoned = e.Seq
		case e.kind() == "placement.plan.admitted" && cordoned > 0 && uncordoned == 0:
			for _, m := range e.admitted() {
				if m.To == node {
					landed = append(landed, m.Instance)
				}
				if m.From == node {
					left++
				}
			}
		}
	}
	seen := fmt.Sprintf("events %d to %d: %s away, %s", cordoned, uncordoned, count(left, "move"), count(len(landed), "move")+" to it")
	return d.check(cordoned > 0 && uncordoned > cordoned && left == 2 && len(landed) == 0, "nothing was sent to "+node+" while it was cordoned", "two moves away and none to it", seen)
}

// rebalance evens out and checks the number of moves against the fewest that could.
func (d *demo) rebalance(ctx context.Context) error {
	before, err := d.spread(ctx)
	if err != nil {
		return err
	}
	moved, err := lookUp[[]api.MigrationView](ctx, d, "migration list")
	if err != nil {
		return err
	}
	for _, line := range []string{"app rebalance --all", "app list"} {
		if _, err := d.cli(ctx, exitDone, line); err != nil {
			return err
		}
	}
	after, err := d.spread(ctx)
	if err != nil {
		return err
	}
	all, err := lookUp[[]api.MigrationView](ctx, d, "migration list")
	if err != nil {
		return err
	}
	moves, least := len(all)-len(moved), fewestMoves(before)
	if err := d.check(slices.Max(after)-slices.Min(after) <= 1 && total(after) == total(before) && moves == least,
		"the nodes are even again, with no more moves than needed", count(least, "move"), fmt.Sprintf("instances on the nodes %v → %v, %s", before, after, count(moves, "move"))); err != nil {
		return err
	}
	if err := d.webAnswers(ctx); err != nil {
		return err
	}
	// Which instance moved is the cluster's choice.
	c, _, err := d.askCounter(ctx)
	if err != nil {
		return err
	}
	if c.Node != d.home {
		d.home, d.away = d.away, d.home
	}
	return d.counterAnswers(ctx, d.home)
}

// spread counts the instances on each node.
func (d *demo) spread(ctx context.Context) ([]int, error) {
	apps, err := lookUp[[]api.AppView](ctx, d, "app list")
	if err != nil {
		return nil, err
	}
	out := make([]int, len(d.cluster.nodes.ids))
	for _, a := range apps {
		for _, n := range a.Nodes {
			out[slices.Index(d.cluster.nodes.ids, n)]++
		}
	}
	return out, nil
}

// fewestMoves is how many instances must move until no node has two more than another.
func fewestMoves(on []int) int {
	on = slices.Clone(on)
	slices.SortFunc(on, func(a, b int) int { return b - a })
	moves, all := 0, total(on)
	for i, n := range on {
		want := all / len(on)
		if i < all%len(on) {
			want++
		}
		moves += max(0, n-want)
	}
	return moves
}

func total(on []int) int {
	sum := 0
	for _, n := range on {
		sum += n
	}
	return sum
}
