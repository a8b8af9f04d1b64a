package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

type nodeList struct {
	Selector string `short:"l" placeholder:"SELECTOR" help:"Only nodes whose labels match."`
}

// Validate is called by kong.
func (cmd *nodeList) Validate() error {
	if cmd.Selector == "" {
		return nil
	}
	_, err := spec.ParseSelector(cmd.Selector)
	return err
}

// Run is called by kong.
func (cmd *nodeList) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	nodes, err := c.nodes(api.ListRequest{})
	if err != nil {
		return err
	}
	if cmd.Selector != "" {
		sel, err := spec.ParseSelector(cmd.Selector)
		if err != nil {
			return fail(exitUsage, "%w", err)
		}
		nodes = slices.DeleteFunc(nodes, func(n api.NodeView) bool { return !sel.Matches(n.Labels) })
	}
	none := "no nodes yet; start one with: go-cluster agent"
	if cmd.Selector != "" {
		none = "no node matches " + cmd.Selector
	}
	return s.print(nodes, func() { s.nodeTable(nodes, none) })
}

func (s *session) nodeTable(nodes []api.NodeView, none string) {
	header := []string{"node", "status", "scheduling", "apps", "cpu", "memory", "labels"}
	if s.wide() {
		header = append(header, "capacity", "address", "version", "revision")
	}
	g := newGrid(s.out, header...)
	for _, n := range nodes {
		cells := []string{n.ID, s.state(n.Status), s.state(n.Scheduling), strconv.Itoa(len(n.Apps)), busy(n, n.Load.CPU), busy(n, n.Load.Memory),
			labelsLine(n.Labels)}
		if s.wide() {
			cells[3] = strings.Join(n.Apps, ",")
			cells = append(cells, capacity(n.Capacity), n.Address, n.Version, strconv.FormatUint(n.Revision, 10))
		}
		g.row(cells...)
	}
	g.flush(none)
}

// busy writes how busy a node says it is; of one that says nothing any more that is not known.
func busy(n api.NodeView, f float64) string {
	if n.Status == api.NodeReady {
		return percent(f)
	}
	return "?"
}

func capacity(r spec.Resources) string { return fmt.Sprintf("%s cpu, %s", r.CPU, memory(r.Memory)) }

type nodeShow struct {
	Node string `arg:"" predictor:"node" help:"Node to show."`
}

// Run is called by kong.
func (cmd *nodeShow) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	n, err := c.node(cmd.Node)
	if err != nil {
		return err
	}
	return s.print(n, func() { s.nodeDetail(n, c.stays(n)) })
}

// stays asks for each order that empties a node why what it has is there still. That it cannot be asked costs the reasons only.
func (c *client) stays(n api.NodeDetail) map[string][]api.StayView {
	out := map[string][]api.StayView{}
	for _, o := range n.Orders {
		ctx, cancel := context.WithTimeout(c.ctx, logLimit)
		rep, err := callCtx[api.OrderRequest, api.OrderReply](ctx, c, api.OrderStatus, api.OrderRequest{Meta: c.question(0), Order: o.Order})
		cancel()
		if err != nil {
			continue
		}
		out[o.Order] = slices.DeleteFunc(rep.Stays, func(st api.StayView) bool { return st.Node != n.ID })
	}
	return out
}

func (c *client) node(id string) (api.NodeDetail, error) {
	return call[api.NodeRequest, api.NodeDetail](c, api.NodeShow, api.NodeRequest{Meta: c.question(0), Node: id})
}

func (s *session) nodeDetail(n api.NodeDetail, stays map[string][]api.StayView) {
	fmt.Fprintf(s.out, "%s  %s  %s  %s  %s  cpu %s of %s  memory %s of %s\n", s.style.bold(n.ID), s.state(n.Status), s.state(n.Scheduling), n.Address,
		n.Version, busy(n.NodeView, n.Load.CPU), n.Capacity.CPU, busy(n.NodeView, n.Load.Memory), memory(n.Capacity.Memory))
	for _, o := range n.Orders {
		s.nodeOrder(n.ID, o)
		for _, line := range stayLines(stays[o.Order]) {
			fmt.Fprintf(s.out, "  %s\n", line)
		}
	}
	fmt.Fprintln(s.out, "\nlabels:")
	for _, k := range slices.Sorted(maps.Keys(n.Labels)) {
		fmt.Fprintf(s.out, "  %s=%s\n", k, n.Labels[k])
	}
	if len(n.Labels) == 0 {
		fmt.Fprintf(s.out, "  none; set one with: go-cluster node label %s key=value\n", n.ID)
	}
	if slices.ContainsFunc(n.Instances, func(in api.InstanceView) bool { return in.Data != nil }) {
		fmt.Fprintln(s.out, "\ndata:")
		s.dataLines(n.Instances)
	}
	s.instances(n.Instances)
	for _, l := range n.Left {
		fmt.Fprintf(s.out, "%s %s of %s: %s\n", s.style.warn("left behind:"), l.ID, l.App, l.Why)
	}
}

// nodeOrder says what empties a node, who wants it, and how to call it off.
func (s *session) nodeOrder(node string, o api.NodeOrder) {
	what, cancel := "is being drained", "go-cluster node drain "+node+" --cancel"
	if o.Kind == "evacuation" {
		what, cancel = "is being evacuated ("+o.Selector+")", fmt.Sprintf("go-cluster app evacuate --label %q --cancel", o.Selector)
	}
	until := ""
	if !o.Deadline.IsZero() {
		until = ", until " + o.Deadline.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(s.out, "%s by %s since %s%s; call it off with: %s\n", s.style.warn(what), o.By, o.At.UTC().Format(time.RFC3339), until, cancel)
}
