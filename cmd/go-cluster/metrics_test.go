//go:build linux

package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/events"
)

// promisedMetrics is the promise, as it is written: each name, its labels and what it is.
const promisedMetrics = `
gc_migration_total{app,reason,status} counter
gc_migration_duration_seconds{app} histogram
gc_migration_in_progress{app} gauge
gc_placement_pending{app} gauge
gc_placement_constraint_violations{app} gauge
gc_rebalance_total{reason} counter
gc_node_app_count{node} gauge
gc_node_imbalance_ratio gauge`

var (
	sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// samples reads the text format as far as our own metrics need it: by name, then by labels as "app=x,reason=y".
func samples(text string) (series map[string]map[string]string, types map[string]string) {
	series, types = map[string]map[string]string{}, map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, found := strings.CutPrefix(line, "# TYPE "); found {
			name, kind, _ := strings.Cut(rest, " ")
			types[name] = kind
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		labels := []string{}
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, pair[1]+"="+pair[2])
		}
		slices.Sort(labels)
		if series[m[1]] == nil {
			series[m[1]] = map[string]string{}
		}
		series[m[1]][strings.Join(labels, ",")] = m[3]
	}
	return series, types
}

func labelNames(labels string) string {
	var names []string
	for pair := range strings.SplitSeq(labels, ",") {
		if name, _, found := strings.Cut(pair, "="); found && name != "le" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func TestMetricsArePromised(t *testing.T) {
	dev, cluster := startDev(t)
	scrape := func() (map[string]map[string]string, map[string]string) {
		body, status := dev.get(t, "/metrics")
		if status != 200 {
			t.Fatalf("/metrics: %d", status)
		}
		return samples(body)
	}
	cluster.apply(exitPending, "name: nowhere\nmode: singleton\nrequire: [role=nobody]\nprocess: {command: [sleep, '1000']}\n")
	cluster.apply(exitDone, "name: picky\nmode: singleton\nprefer: [{label: role=nobody}]\nprocess: {command: [sleep, '1000']}\n")
	series, types := scrape()

	apps, nodes := []string{"counter", "nowhere", "picky", "web"}, []string{"node-1", "node-2", "node-3"}
	for line := range strings.Lines(strings.TrimSpace(promisedMetrics)) {
		m := regexp.MustCompile(`^(\w+)(?:\{(.*)\})? (\w+)$`).FindStringSubmatch(strings.TrimSpace(line))
		name, labels, kind := m[1], m[2], m[3]
		if types[name] != kind {
			t.Errorf("%s is a %q, want a %s", name, types[name], kind)
		}
		parts := []string{name}
		if kind == "histogram" {
			parts = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, part := range parts {
			if len(series[part]) == 0 {
				t.Errorf("%s has no series", part)
			}
			for s := range series[part] {
				if labelNames(s) != labels {
					t.Errorf("%s{%s}: want the labels %q", part, s, labels)
				}
			}
		}
	}
	at := func(name, labels, want string) {
		t.Helper()
		if got, found := series[name][labels]; !found || got != want {
			t.Errorf("%s{%s} is %q, want %s", name, labels, got, want)
		}
	}
	for _, app := range apps {
		for _, reason := range events.Reasons() {
			for _, status := range []string{"completed", "failed", "cancelled"} {
				want := "0"
				if reason == "spec_update" && status == "completed" {
					want = map[string]string{"counter": "1", "nowhere": "0", "picky": "1", "web": "2"}[app]
				}
				at("gc_migration_total", "app="+app+",reason="+reason+",status="+status, want)
			}
		}
		at("gc_migration_duration_seconds_count", "app="+app, map[string]string{"counter": "1", "nowhere": "0", "picky": "1", "web": "2"}[app])
		at("gc_migration_in_progress", "app="+app, "0")
		at("gc_placement_pending", "app="+app, map[bool]string{true: "1", false: "0"}[app == "nowhere"])
		at("gc_placement_constraint_violations", "app="+app, map[bool]string{true: "1", false: "0"}[app == "picky"])
	}
	for _, node := range nodes {
		if _, found := series["gc_node_app_count"]["node="+node]; !found {
			t.Errorf("no gc_node_app_count of %s: %v", node, slices.Sorted(maps.Keys(series["gc_node_app_count"])))
		}
	}
	at("gc_rebalance_total", "reason=manual", "0")

	cluster.do(exitDone, "app", "rebalance", "--all") // first: wherever picky is, nothing is to be evened out
	cluster.do(exitDone, "app", "move", "counter")
	series, _ = scrape()
	at("gc_migration_total", "app=counter,reason=manual,status=completed", "1")
	at("gc_migration_duration_seconds_count", "app=counter", "2")
	at("gc_rebalance_total", "reason=manual", "1")
	dev.stop(t, exitDone)
}
