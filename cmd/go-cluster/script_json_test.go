//go:build linux

package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	json "github.com/go-json-experiment/json"
)

// jsonAt returns what a document has at a path: "nodes.0", "labels.zone", "[id=node-1].status" for the last element of a list whose
// id is node-1, "apps.#" for the length. Strings come bare, everything else as JSON; what is not there is "absent".
func jsonAt(document, path string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		return "", fmt.Errorf("%w in %.500q", err, document)
	}
	for _, part := range pathParts.FindAllString(path, -1) {
		var found bool
		if v, found = jsonPart(v, part); !found {
			return "absent", nil
		}
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(v, json.Deterministic(true))
	return string(b), err
}

var pathParts = regexp.MustCompile(`\[[^]]*\]|[^.]+`)

func jsonPart(v any, part string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		member, found := v[part]
		return member, found
	case []any:
		if part == "#" {
			return len(v), true
		}
		if key, value, found := strings.Cut(strings.Trim(part, "[]"), "="); found {
			for _, e := range slices.Backward(v) {
				if m, ok := e.(map[string]any); ok && fmt.Sprint(m[key]) == value {
					return e, true
				}
			}
			return nil, false
		}
		i, err := strconv.Atoi(part)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

func TestJSONAt(t *testing.T) {
	const doc = `{"a":[{"id":"x","n":1},{"id":"y","n":2},{"id":"x","n":3},{"id":"z","at":1.5}],"m":{},"s":"t"}`
	for path, want := range map[string]string{
		"a.#": "4", "a.1.n": "2", "a.[id=x].n": "3", "a.[id=z].n": "absent", "a.[at=1.5].id": "z", "a.9": "absent", "m": "{}", "s": "t", "s.x": "absent", "b": "absent",
	} {
		if got, err := jsonAt(doc, path); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", path, got, err, want)
		}
	}
	if _, err := jsonAt("no", "a"); err == nil {
		t.Error("no error for what is no JSON")
	}
}

// chained is what a chain of causes needs of an event.
type chained struct {
	Seq         uint64 `json:"seq"`
	ID          string `json:"id"`
	Category    string `json:"category"`
	Action      string `json:"action"`
	App         string `json:"app"`
	Cause       string `json:"cause"`
	Correlation string `json:"correlation"`
}

// checkChain goes back, by the causes, from the end of the app's last migration to the command that a person gave. On its way it
// must come by these kinds, in the order in which they happened, and every event must be correlated with that command.
func checkChain(log, app string, kinds []string) error {
	byID := map[string]chained{}
	var last chained
	for line := range bytes.Lines([]byte(log)) {
		var e chained
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%w in %s", err, line)
		}
		byID[e.ID] = e
		if e.App == app && e.Category == "placement" && (e.Action == "migration.completed" || e.Action == "migration.failed") {
			last = e
		}
	}
	var way []string
	for e := last; ; {
		if e.ID == "" {
			return fmt.Errorf("the chain %q of %s breaks", way, app)
		}
		way = append([]string{e.Category + "." + e.Action}, way...)
		if e.Correlation != last.Correlation {
			return fmt.Errorf("%d is correlated with %s, %d with %s", e.Seq, e.Correlation, last.Seq, last.Correlation)
		}
		if strings.HasPrefix(e.Cause, "cmd:") {
			if e.Cause != e.Correlation {
				return fmt.Errorf("%d is caused by %s and correlated with %s", e.Seq, e.Cause, e.Correlation)
			}
			break
		}
		before := byID[e.Cause]
		if before.ID != "" && before.Seq >= e.Seq {
			return fmt.Errorf("%d is caused by %d", e.Seq, before.Seq)
		}
		e = before
	}
	rest := way
	for _, k := range kinds {
		i := slices.Index(rest, k)
		if i < 0 {
			return fmt.Errorf("the chain %q of %s lacks %s", way, app, k)
		}
		rest = rest[i+1:]
	}
	return nil
}
