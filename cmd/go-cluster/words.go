package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// count writes "1 app" or "3 apps".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// noneOf says that there is nothing, and of what app and node nothing was looked for, which may be mistyped.
func noneOf(what, app, node string) string {
	if app != "" {
		what += " of app " + app
	}
	if node != "" {
		what += " on node " + node
	}
	return "no " + what
}

// route writes the two ends of a move, either of which may be missing.
func route(from, to string) string {
	switch {
	case from == "" && to == "":
		return "-"
	case from == "":
		return "→ " + to
	case to == "":
		return from + " → nowhere"
	case from == to:
		return "on " + from
	}
	return from + " → " + to
}

func labelsLine(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, ",")
}

// rejections lists every failing rule of every node, one rule a line, the node named once.
func (s *session) rejections(w io.Writer, indent string, rules []events.Rejection) {
	if len(rules) == 0 {
		return
	}
	g := newGrid(w, "node", "rule", "why")
	g.indent = indent
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b events.Rejection) int { return strings.Compare(a.Node, b.Node) })
	last := ""
	for i, r := range rules {
		node := r.Node
		if i > 0 && node == last {
			node = " "
		}
		last = r.Node
		g.row(node, r.Code, readable(r.Detail))
	}
	g.flush("")
}

// pending explains each instance that has nowhere to go.
func (s *session) pending(w io.Writer, views []api.PendingView) {
	for _, p := range views {
		name := p.Instance
		if name == "" {
			name = p.App
		}
		fmt.Fprintf(w, "%s %s\n", styleOf(w).warn(name+" has nowhere to go:"), p.Reason)
		s.rejections(w, "  ", p.Rejections)
		s.relax(w, "  ", p.Relax)
	}
}

// relax lists what would give an instance a place.
func (s *session) relax(w io.Writer, indent string, rs []events.Relaxation) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s%s %s\n", indent, styleOf(w).good("it would have a place:"), r.Detail)
		for _, c := range r.Commands {
			fmt.Fprintf(w, "%s  %s\n", indent, c)
		}
	}
}

// toneOf colours the states of apps, nodes, instances and migrations.
func toneOf(state string) tone {
	switch state {
	case api.AppRunning, api.NodeReady, api.MigrationCompleted: // instances and migrations use the same words
		return goodTone
	case api.AppPending, api.AppDegraded, api.AppMigrating, api.NodeSuspected, api.Cordoned, api.Draining, api.MigrationHeld,
		api.MigrationPlanned, api.InstanceStarting, api.InstanceStopping, api.InstanceAssigned:
		return warnTone
	case api.NodeIsLost, api.MigrationFailed:
		return badTone
	}
	return plainTone
}

func (s *session) state(word string) string { return s.style.tone(toneOf(word), word) }

func portsLine(ports map[string]int) string {
	parts := make([]string, 0, len(ports))
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		parts = append(parts, fmt.Sprintf("%s=%d", name, ports[name]))
	}
	return strings.Join(parts, ",")
}
