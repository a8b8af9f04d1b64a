package events

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestRegistry(t *testing.T) {
	services := []string{Labeler, Planner, Migrator, Rebalancer, Auditor}
	payloads := map[reflect.Type]Type{}
	for i, r := range Registry() {
		if i > 0 && Registry()[i-1].Type >= r.Type {
			t.Errorf("%s is not behind %s", r.Type, Registry()[i-1].Type)
		}
		tokens := strings.Split(string(r.Type), ".")
		if len(tokens) != 3 || slices.ContainsFunc(tokens, func(s string) bool { return !typeToken(s) }) {
			t.Errorf("%s: want <category>.<noun>.<verb> of a-z and _", r.Type)
		}
		if r.Type.Category()+"."+r.Type.Action() != string(r.Type) || strings.Contains(r.Type.Category(), ".") {
			t.Errorf("%s: category %q and action %q", r.Type, r.Type.Category(), r.Type.Action())
		}
		if r.Writer != "" && !slices.Contains(services, r.Writer) {
			t.Errorf("%s: writer %q is no service", r.Type, r.Writer)
		}
		if !slices.Contains([]Kind{KindNode, KindApp, KindCluster, KindRequest, KindAudit}, r.Aggregate) {
			t.Errorf("%s: aggregate kind %q is none", r.Type, r.Aggregate)
		}
		if r.Version < 1 {
			t.Errorf("%s: version %d", r.Type, r.Version)
		}
		if r.Doc == "" || !strings.HasSuffix(r.Doc, ".") {
			t.Errorf("%s: doc %q is no sentence", r.Type, r.Doc)
		}
		if other, twice := payloads[r.payload]; twice {
			t.Errorf("%s is the payload of both %s and %s: a draft could not tell its type", r.payload, other, r.Type)
		}
		payloads[r.payload] = r.Type
		if got, err := TypeOf(r.New()); err != nil || got != r.Type {
			t.Errorf("TypeOf(%s) = %s, %v, want %s", r.payload, got, err, r.Type)
		}
	}
	first := slices.DeleteFunc(samples(), func(s sample) bool { return s.gained != "" })
	if len(payloads) != len(first) {
		t.Errorf("%d types and %d samples", len(payloads), len(first))
	}
}

// A second row of a type would silently replace the first, so the table itself is counted.
func TestRegistryHasEachTypeOnce(t *testing.T) {
	if len(registry) != len(typeOf) {
		t.Errorf("%d types, %d payloads: a row stands twice", len(registry), len(typeOf))
	}
}

func TestTypeOfOthers(t *testing.T) {
	for _, payload := range []any{nil, NodeLeft{}, &Move{}, new(string), &Unknown{}} {
		if got, err := TypeOf(payload); err == nil {
			t.Errorf("TypeOf(%T) = %s", payload, got)
		}
	}
}

// Ids are read back after interrupted appends, by other versions as well: what they are made of never changes.
func TestDerivedIDsArePinned(t *testing.T) {
	if got, want := deriveID(App("convex"), 42, "placement.migration.started", "cmd:1", "node-2"), "130877c455b1d50aee39"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Derive("policy", "{}"), "1e606b68b01a3efb2dbc"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if Derive("ab", "c") == Derive("a", "bc") {
		t.Error("parts run together")
	}
}
