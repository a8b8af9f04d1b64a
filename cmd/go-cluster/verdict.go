package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// verdict is how an order ended for the person who asked for it.
type verdict struct {
	code int
	line string // what happened, one line
	tone tone
}

// verdict judges an order that has ended or is stuck.
func (w *watched) verdict() verdict {
	moved, failed := 0, []api.MigrationView{}
	for _, v := range latest(w.last.Migrations) {
		switch v.Status {
		case api.MigrationCompleted:
			if v.FromNode != "" { // a standby that is placed instead of another has not moved
				moved++
			}
		case api.MigrationFailed, api.MigrationCancelled:
			failed = append(failed, v)
		}
	}
	if w.kind == "cancel" {
		return w.cancelVerdict()
	}
	switch {
	case w.last.State == api.OrderOpen && w.gaveUp():
		return verdict{exitFailedMoves, w.failure(moved, failed), badTone}
	case len(awaiting(w.last)) > 0:
		line := fmt.Sprintf("%s %s waits for an operator's approval", w.kind, w.name)
		for _, v := range awaiting(w.last) {
			line += fmt.Sprintf("\n  %s %s: go-cluster migration approve %s", v.Instance, route(v.FromNode, v.ToNode), v.ID)
		}
		return verdict{exitApproval, line, warnTone}
	case w.last.State == api.OrderOpen:
		return verdict{exitPending, fmt.Sprintf("%s %s: %s nowhere to go: %s", w.kind, w.name, has(len(w.last.Stuck)), strings.Join(w.last.Left, ", ")), warnTone}
	case w.last.State == api.OrderCancelled:
		return verdict{exitFailedMoves, fmt.Sprintf("%s %s was cancelled after %s", w.kind, w.name, count(moved, "move")), warnTone}
	case w.last.State == api.OrderFailed && w.hasTimeLimit():
		return verdict{exitTimeUp, fmt.Sprintf("%s %s: time is up after %s; left where they are: %s", w.kind, w.name, count(moved, "move"),
			orNone(w.last.Left)) + w.whyLeft() + w.staysCordoned(), badTone}
	case len(failed) == 1 && moved == 0 && vetoed(failed[0]):
		return verdict{exitRefused, w.failure(moved, failed), badTone}
	case len(failed) > 0:
		return verdict{exitFailedMoves, w.failure(moved, failed), badTone}
	case w.last.State == api.OrderFailed:
		return verdict{exitFailedMoves, fmt.Sprintf("%s %s failed", w.kind, w.name), badTone}
	}
	return verdict{exitDone, w.success(moved), goodTone}
}

// whyLeft says of each instance that was left where it was why it was there still, which was asked before the end: what has become of a move
// that was under way then is told instead of it, and nothing of one that somebody else ordered.
func (w *watched) whyLeft() (lines string) {
	for _, st := range w.stays {
		if !slices.Contains(w.last.Left, st.ID) {
			continue
		}
		why := readable(st.Why)
		if strings.Contains(why, "is under way") {
			i := slices.IndexFunc(w.last.Migrations, func(v api.MigrationView) bool { return strings.Contains(st.Why, v.ID) })
			if i < 0 {
				continue
			}
			if v := w.last.Migrations[i]; !openMigration(v) {
				why = join(fmt.Sprintf("the move of %s %s %s", v.Instance, route(v.FromNode, v.ToNode), v.Status), v.Detail)
			}
		}
		lines += "\n  " + join(st.ID, why)
	}
	return lines
}

// staysCordoned says what a drain leaves behind whose time is up, and how to lift it.
func (w *watched) staysCordoned() string {
	if w.kind != "drain" {
		return ""
	}
	return fmt.Sprintf("\n  %s stays cordoned: go-cluster node uncordon %s", w.name, w.name)
}

// hasTimeLimit tells the orders that fail only because their time is up.
func (w *watched) hasTimeLimit() bool { return w.kind == "drain" || w.kind == "evacuation" }

func (w *watched) success(moved int) string {
	views := latest(w.last.Migrations)
	what := count(moved, "instance") + " moved"
	if moved == 0 {
		what = "nothing had to move"
	}
	switch w.kind {
	case "move":
		if len(views) == 1 {
			return fmt.Sprintf("moved %s %s in %s", views[0].App, route(views[0].FromNode, views[0].ToNode), took(millis(views[0].DurationMS)))
		}
		return "moved " + w.name
	case "drain":
		return fmt.Sprintf("drained %s: %s", w.name, what)
	case "evacuation":
		return fmt.Sprintf("evacuated %s: %s", w.name, what)
	case "rebalance":
		return fmt.Sprintf("rebalanced %s: %s", w.name, what)
	case "apply":
		return w.placed()
	case "restart":
		return fmt.Sprintf("restarted %s: %s replaced", w.name, count(moved, "instance"))
	case "remove":
		return fmt.Sprintf("removed %s: %s stopped", w.name, count(moved, "instance"))
	}
	return fmt.Sprintf("%s %s done", w.kind, w.name)
}

// placed says where the instances of an applied app are now.
func (w *watched) placed() string {
	var nodes []string
	for _, v := range latest(w.last.Migrations) {
		if v.ToNode != "" {
			nodes = append(nodes, v.ToNode)
		}
	}
	if len(nodes) == 0 {
		return "applied " + w.name
	}
	return fmt.Sprintf("applied %s: runs on %s", w.name, strings.Join(nodes, ", "))
}

func (w *watched) failure(moved int, failed []api.MigrationView) string {
	v := failed[0]
	if w.kind == "move" {
		return fmt.Sprintf("move %s %s %s", v.App, route(v.FromNode, v.ToNode), join(v.Status, v.Detail))
	}
	line := fmt.Sprintf("%s %s ended: %d moved, %d not", w.kind, w.name, moved, len(failed))
	if w.gaveUp() {
		line = fmt.Sprintf("%s does not come up; it is tried again, with growing pauses", w.name)
	}
	for _, v := range failed {
		line += fmt.Sprintf("\n  %s %s %s", v.Instance, route(v.FromNode, v.ToNode), join(v.Status, v.Detail))
	}
	return line
}

// cancelVerdict judges the migration that was to be given up.
func (w *watched) cancelVerdict() verdict {
	for _, v := range w.last.Migrations {
		if v.Status == api.MigrationCompleted {
			return verdict{exitRefused, fmt.Sprintf("migration %s was past its commit and completed: %s runs on %s", v.ID, v.Instance, v.ToNode), warnTone}
		}
	}
	return verdict{exitDone, "cancelled migration " + w.name, goodTone}
}

// vetoed says whether it was the app's own hook that kept an instance where it is.
func vetoed(v api.MigrationView) bool {
	return slices.Contains([]string{events.HookVetoed, events.HookLate, events.HookPanicked, events.HookBroken}, v.Code)
}

func has(n int) string {
	if n == 1 {
		return "1 instance has"
	}
	return fmt.Sprintf("%d instances have", n)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
