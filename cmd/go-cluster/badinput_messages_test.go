//go:build linux

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	json "github.com/go-json-experiment/json"
)

// requestTemplates has a sound request of every endpoint, about things that do not exist, with every field of it: what a test then
// breaks. META stands for what every command has.
var requestTemplates = map[string]string{
	"node.declare":      `{META,"node":"ghost","inc":"m.b.1","machine":"m","ttl":"5s","facts":{"version":"1","cpu":"2","memory":"1Gi","os":"linux","arch":"amd64","drivers":["process"]},"labels":{"a":"b"},"epochs":{"one":1}}`,
	"node.label":        `{META,"node":"ghost","set":{"a":"b"},"remove":["c"],"if_revision":1}`,
	"node.cordon":       `{META,"node":"ghost","confirm":false}`,
	"node.uncordon":     `{META,"node":"ghost","confirm":false}`,
	"node.lost":         `{META,"node":"ghost","confirm":true}`,
	"node.remove":       `{META,"node":"ghost","confirm":false}`,
	"node.list":         `{META,"app":"ghost","node":"ghost"}`,
	"node.show":         `{META,"node":"ghost","confirm":false}`,
	"node.drain":        `{META,"nodes":["ghost"],"timeout":"1s","force":false,"delete_local":false}`,
	"node.undrain":      `{META,"node":"ghost","confirm":false}`,
	"node.stable":       `{META,"node":"ghost"}`,
	"app.apply":         `{META,"spec":{"name":"Ghost","mode":"singleton","replicas":1,"require":["a=b"],"prefer":[{"label":"a=b","weight":1}],"on_nodes":["n"],"resources":{"cpu":"1","memory":"1Gi"},"process":{"command":["sleep","1"],"env":{"A":"b"},"stop_timeout":"1s"},"ports":{"http":0},"health":{"http":"http://h/","interval":"1s"},"migration":{"drain_timeout":"1s"},"restart":{"attempts":1},"data":"ephemeral","labels":{"a":"b"}}}`,
	"app.remove":        `{META,"app":"ghost","delete_local":false}`,
	"app.restart":       `{META,"app":"ghost","delete_local":false}`,
	"app.move":          `{META,"app":"ghost","from":"ghost","to":"ghost","force":false}`,
	"app.hook":          `{META,"app":"ghost","hook":"on_placement_invalid","node":"ghost","inc":"x","about":"x","took_ms":1}`,
	"app.placement":     `{META,"app":"ghost","rules":{"require":["a=b"]},"keep_resources":true}`,
	"app.evacuate":      `{META,"selector":"nobody in (","timeout":"1s"}`,
	"app.why":           `{META,"app":"ghost","instance":"ghost-0"}`,
	"app.whynot":        `{META,"app":"ghost","node":"ghost","instance":"ghost-0"}`,
	"app.unevacuate":    `{META,"selector":"nobody in (","timeout":"1s"}`,
	"rebalance.stop":    `{META,"order":"r-0"}`,
	"rebalance.show":    `{META,"app":"ghost","node":"ghost"}`,
	"app.rebalance":     `{META,"app":"ghost","all":false,"dry_run":false}`,
	"app.list":          `{META,"app":"ghost","node":"ghost"}`,
	"app.show":          `{META,"app":"ghost","delete_local":false}`,
	"plan.preview":      `{META,"move":{"app":"ghost","from":"ghost","to":"ghost","force":false}}`,
	"state.show":        `{META,"app":"ghost","node":"ghost"}`,
	"order.status":      `{META,"order":"d-0"}`,
	"migration.list":    `{META,"app":"ghost","node":"ghost"}`,
	"migration.show":    `{META,"migration":"m-0"}`,
	"migration.cancel":  `{META,"migration":"m-0"}`,
	"migration.approve": `{META,"migration":"m-0","why":"seen"}`,
	"migration.deny":    `{META,"migration":"m-0","why":"no"}`,
	"policy.show":       `{META,"app":"ghost","node":"ghost"}`,
	"policy.set":        `{META,"policy":{"migration":{"load_threshold":8,"rate_limit":{"count":1,"window":"1h"},"maintenance_windows":[{"start":"02:00","end":"06:00","timezone":"UTC","days":["mon"]}]},"auto_rebalance":{"enabled":false,"interval":"5m"}}}`,
	"moves.freeze":      `{META,"source":"nobody","why":"x"}`,
	"moves.unfreeze":    `{META,"source":"nobody","why":"x"}`,
	"event.list":        `{META,"since_seq":1,"limit":1,"app":"ghost","node":"ghost","correlation":"x","wait":"1ms"}`,
	"audit.list":        `{META,"since_seq":1,"limit":1,"app":"ghost","node":"ghost","wait":"1ms"}`,
	"logs.node-1":       `{META,"instance":"ghost-0","tail":1,"follow":false,"inbox":"_INBOX.nobody"}`,
}

// broken is a message and the field that the refusal must name; "" when there is none to name.
type broken struct{ body, field string }

// wrongTypes puts something of another JSON type into each field of a request, one at a time, at every depth, and adds a field that
// nobody knows next to each.
func wrongTypes(template string) []broken {
	var v map[string]any
	if err := json.Unmarshal([]byte(template), &v); err != nil {
		panic(fmt.Sprintf("%v in %s", err, template))
	}
	var out []broken
	add := func(field string) {
		b, err := json.Marshal(v, json.Deterministic(true))
		if err != nil {
			panic(err)
		}
		out = append(out, broken{string(b), field})
	}
	var within func(v any, path []string)
	within = func(v any, path []string) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				was, at := v[key], append(slices.Clone(path), key)
				for _, wrong := range otherThan(was) {
					v[key] = wrong
					add(strings.Join(at, "."))
				}
				v[key] = was
				within(was, at)
			}
			if !freeKeys[lastOf(path)] {
				v["surprise"] = 1
				add(strings.Join(append(slices.Clone(path), "surprise"), "."))
				delete(v, "surprise")
			}
		case []any:
			for i, was := range v {
				at := append(slices.Clone(path), strconv.Itoa(i))
				for _, wrong := range otherThan(was) {
					v[i] = wrong
					add(strings.Join(at, "."))
				}
				v[i] = was
				within(was, at)
			}
		}
	}
	within(v, nil)
	return out
}

// freeKeys are maps whose keys are the user's.
var freeKeys = map[string]bool{"labels": true, "epochs": true, "set": true, "env": true, "ports": true}

func lastOf(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1]
}

// otherThan has values of the JSON types that a field cannot take. Numbers may stand for amounts that are written as text.
func otherThan(v any) []any {
	switch v.(type) {
	case string:
		return []any{true, []any{"x"}, map[string]any{"x": "y"}}
	case bool:
		return []any{"true", 1.0, []any{}, map[string]any{}}
	case float64:
		return []any{"x", true, 1.5, 1e300, -1e300, []any{}, map[string]any{}}
	case []any:
		return []any{"x", true, 1.0, map[string]any{}}
	}
	return []any{"x", true, 1.0, []any{}}
}

// garbage is what no reader of JSON takes for a request.
var garbage = []string{
	"", " ", "\x00", "true", "1", `"x"`, "[]", "{", "}", "{}{}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`, "\xff\xfe{}", "\xef\xbb\xbf{}",
	`{"id":"a","id":"b"}`, `{"id":"` + "\xc3\x28" + `"}`, `{"id":"\ud800"}`, "{\"id\":\"a\nb\"}", `{"id":"a\u0000b"}`, `{"id":"é"}`, `{"expires":"soon"}`,
	`{"expires":"9999999-01-01T00:00:00Z"}`, `{"min_seq":-1}`, `{"min_seq":18446744073709551616}`, `{"min_seq":1e400}`, `{"min_seq":NaN}`, `{"actor":"nats:root"}`, `{"actor":"a b"}`,
	strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 10_000), `{"id":"` + strings.Repeat("x", 200) + `"}`, `{"x":"` + strings.Repeat("y", 200_000) + `"}`,
	"<?xml version='1.0'?>", "GET / HTTP/1.1\r\n\r\n", "PUB gc.dev.evt.app.x.placement.migration.started 2\r\n{}\r\n", "+OK\r\n", "a: [1", "%s%n%d", "'; DROP TABLE nodes; --",
}

// damaged is a sound message after something has happened to it on its way.
func damaged(r *rand.Rand, sound string) string {
	b := []byte(sound)
	switch r.IntN(6) {
	case 0: // cut
		return string(b[:r.IntN(len(b))])
	case 1: // one byte
		b[r.IntN(len(b))] = byte(r.IntN(256))
	case 2: // two parts swapped
		i, j := r.IntN(len(b)), r.IntN(len(b))
		i, j = min(i, j), max(i, j)
		return string(b[j:]) + string(b[i:j]) + string(b[:i])
	case 3: // something in between
		i := r.IntN(len(b))
		return string(b[:i]) + garbage[r.IntN(len(garbage)-8)] + string(b[i:])
	case 4: // noise
		b = make([]byte, r.IntN(200))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
	case 5: // another order of the same bytes
		r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	}
	return string(b)
}
