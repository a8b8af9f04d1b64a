//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	json "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/transport"
)

// startDev starts a dev cluster in this process, with this binary's programs on the PATH of its apps.
func startDev(t *testing.T, flags ...string) (*running, devAt) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")) // dev puts a directory before it
	dev := start(t, append([]string{"dev", "--nats-port", "0", "--http-port", "0"}, flags...)...)
	return dev, devAt{t, natsOf(dev.out.String())}
}

func (d devAt) do(code int, args ...string) outcome {
	d.t.Helper()
	o := d.cli(args...)
	if o.code != code {
		d.t.Fatalf("%v: %+v, want exit code %d", args, o, code)
	}
	return o
}

func (d devAt) apply(code int, text string) {
	d.t.Helper()
	file := filepath.Join(d.t.TempDir(), "app.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.do(code, "app", "apply", "-f", file)
}

// shape is what each key that programs rely on holds: "string", "number", "bool", "list", "map", or the words that it may be.
type shape map[string]string

var (
	nodeShape = shape{"id": "string", "status": "ready|suspected|lost|left", "scheduling": "schedulable|cordoned|draining", "labels": "map",
		"apps": "list", "load": "map"}
	appShape = shape{"name": "string", "mode": "singleton|spread|replicas|ring", "state": "pending|migrating|degraded|running|stopped",
		"desired": "number", "running": "number", "nodes": "list"}
	instanceShape = shape{"id": "string", "node": "string", "role": "active|standby|member",
		"state": "assigned|starting|running|ready|stopping|stopped|failed", "epoch": "number", "address": "string", "ports": "map"}
	migrationShape = shape{"id": "string", "app": "string", "from_node": "string", "to_node": "string", "reason": "string",
		"trigger": "manual|automatic", "status": "planned|held|running|completed|failed|cancelled", "step": "string", "started": "string", "duration_ms": "number"}
	eventShape = shape{"seq": "number", "id": "string", "ts": "string", "category": "string", "action": "string", "v": "number", "rev": "number",
		"actor": "string", "cause": "string", "correlation": "string", "stream": "string", "data": "map"}
	migrationData = shape{"migration": "string", "from_node": "string", "to_node": "string", "reason": "string", "trigger": "manual|automatic"}
)

// object checks an object against a shape and returns it.
func object(t *testing.T, where string, v any, want shape) map[string]any {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s: %v is no object", where, v)
	}
	for key, kind := range want {
		held, found := m[key]
		is := kindOf(held)
		word, isString := held.(string)
		switch {
		case !found:
			t.Errorf("%s: no %s in %v", where, key, m)
		case strings.Contains(kind, "|"):
			if !isString || !strings.Contains("|"+kind+"|", "|"+word+"|") {
				t.Errorf("%s: %s is %v, want one of %s", where, key, held, kind)
			}
		case is != kind:
			t.Errorf("%s: %s is %v, a %s, want a %s", where, key, held, is, kind)
		}
	}
	return m
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "list"
	case map[string]any:
		return "map"
	}
	return fmt.Sprintf("%T", v)
}

// noNulls fails for a null anywhere: programs loop over lists and maps without asking first.
func noNulls(t *testing.T, where string, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		t.Errorf("%s is null", where)
	case []any:
		for i, e := range v {
			noNulls(t, fmt.Sprintf("%s.%d", where, i), e)
		}
	case map[string]any:
		for k, e := range v {
			noNulls(t, where+"."+k, e)
		}
	}
}

// list asks for a list and checks each element.
func (d devAt) list(want shape, args ...string) []map[string]any {
	d.t.Helper()
	all := ask[[]any](d, args...)
	noNulls(d.t, strings.Join(args, " "), all)
	out := make([]map[string]any, 0, len(all))
	for i, v := range all {
		out = append(out, object(d.t, fmt.Sprint(args, i), v, want))
	}
	return out
}

func TestShapesForPrograms(t *testing.T) {
	dev, cluster := startDev(t, "--nodes", "2", "--no-demo")
	for _, args := range [][]string{{"app", "list"}, {"migration", "list"}} {
		if o := cluster.do(exitDone, append(args, "-o", "json")...); o.out != "[]\n" {
			t.Errorf("%v of nothing: %q", args, o.out)
		}
	}
	cluster.list(nodeShape, "node", "list")

	cluster.apply(exitDone, "name: web\nmode: replicas\nreplicas: 2\nprocess: {command: [go-cluster, sample, web]}\nports: {http: 0}\n")
	cluster.apply(exitDone, "name: one\nmode: singleton\nprocess: {command: [sleep, '1000']}\n")
	cluster.apply(exitPending, "name: nowhere\nmode: singleton\nrequire: [role=nobody]\nprocess: {command: [sleep, '1000']}\n")
	cluster.do(exitDone, "app", "move", "one")
	cluster.do(exitDone, "node", "label", "node-1", "zone=a")

	nodes := cluster.list(nodeShape, "node", "list")
	for _, n := range nodes {
		object(t, "load", n["load"], shape{"cpu": "number", "memory": "number"})
		detail := object(t, "node show", ask[any](cluster, "node", "show", n["id"].(string)), nodeShape)
		noNulls(t, "node show", detail)
		for _, i := range detail["instances"].([]any) {
			object(t, "node show", i, instanceShape)
		}
		for key := range n {
			if _, found := detail[key]; !found {
				t.Errorf("node show lacks %s of node list", key)
			}
		}
	}
	if apps := cluster.list(appShape, "app", "list"); len(apps) != 3 {
		t.Errorf("apps %v", apps)
	}
	for _, name := range []string{"web", "one", "nowhere"} {
		app := object(t, "app show", ask[any](cluster, "app", "show", name), shape{"name": "string", "mode": "string", "spec": "map", "instances": "list", "pending": "list"})
		noNulls(t, "app show", app)
		for _, v := range app["instances"].([]any) {
			i := object(t, "app show", v, instanceShape)
			if port, found := i["ports"].(map[string]any)["http"].(float64); name == "web" && (!found || port < 1) {
				t.Errorf("ports %v", i["ports"])
			}
		}
		for _, p := range app["pending"].([]any) {
			object(t, "app show", p, shape{"node": "string", "code": "string", "detail": "string"})
		}
		if got := len(app["pending"].([]any)); name == "nowhere" && got != 2 || name != "nowhere" && got != 0 {
			t.Errorf("%s: pending %v", name, app["pending"])
		}
	}
	migrations := cluster.list(migrationShape, "migration", "list")
	if len(migrations) != 4 {
		t.Errorf("migrations %v", migrations)
	}
	first := migrations[0]
	if first["from_node"] != "" || first["to_node"] == "" || first["reason"] != "spec_update" {
		t.Errorf("first placement %v", first)
	}
	dev.stop(t, exitDone)
}

// What a plain NATS subscription sees is what the command prints, and what is stored.
func TestEventsAreTheSameEverywhere(t *testing.T) {
	dev, cluster := startDev(t, "--nodes", "2", "--no-demo")
	nc, err := transport.Connect(transport.ConnectOptions{Servers: cluster.nats, Name: "nats sub"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var mu sync.Mutex
	seen := map[string]any{}
	sub, err := nc.Subscribe("gc.>", func(m *nats.Msg) {
		var v any
		if !strings.HasPrefix(m.Subject, "gc.dev.evt.") {
			return
		}
		if err := json.Unmarshal(m.Data, &v); err != nil {
			t.Errorf("%s: %v", m.Subject, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		seen[v.(map[string]any)["id"].(string)] = v
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	before := strings.Count(cluster.do(exitDone, "events").out, "\n")
	cluster.apply(exitDone, "name: one\nmode: singleton\nrequire: ['!away']\nprocess: {command: [sleep, '1000']}\n")
	from := ask[map[string]any](cluster, "app", "show", "one")["nodes"].([]any)[0].(string)
	cluster.do(exitDone, "node", "label", from, "away=true", "--wait")
	cluster.do(exitDone, "app", "remove", "one")
	log := cluster.do(exitDone, "events", "--since-seq", fmt.Sprint(before+1)).out
	dev.stop(t, exitDone) // what was sent has arrived
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}

	mu.Lock()
	defer mu.Unlock()
	placed, moved := false, false
	seq := float64(before)
	for line := range bytes.Lines([]byte(log)) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		e := object(t, "events", v, eventShape)
		noNulls(t, "events", e)
		if seq++; e["seq"] != seq {
			t.Errorf("sequence %v, want %v", e["seq"], seq)
		}
		delete(e, "seq")
		if diff := cmp.Diff(seen[e["id"].(string)], v); diff != "" {
			t.Errorf("%s.%s: sent (-), printed (+):\n%s", e["category"], e["action"], diff)
		}
		if e["category"] != "placement" || !strings.HasPrefix(e["action"].(string), "migration.") {
			continue
		}
		if e["app"] != "one" {
			t.Errorf("app %v", e["app"])
		}
		d := object(t, e["action"].(string), e["data"], migrationData)
		placed = placed || d["from_node"] == "" && d["to_node"] == from && d["reason"] == "spec_update"
		moved = moved || d["from_node"] == from && d["to_node"] != "" && d["reason"] == "label_change" && d["trigger"] == "automatic"
	}
	if !placed || !moved {
		t.Errorf("placed %v, moved %v in\n%s", placed, moved, log)
	}
}
