package spec

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseLabelChange(t *testing.T) {
	tests := []struct {
		args string
		want LabelChange
		err  string
	}{
		{args: "role=storage", want: LabelChange{Set: map[string]string{"role": "storage"}}},
		{args: "b- a- c=", want: LabelChange{Set: map[string]string{"c": ""}, Remove: []string{"a", "b"}}},
		{args: "example.com/zone=a", want: LabelChange{Set: map[string]string{"example.com/zone": "a"}}},
		{args: "a=1 a=1", err: `argument "a=1": label a was already given as "a=1"`},
		{args: "a=1 a-", err: `argument "a-": label a was already given as "a=1"`},
		{args: "role", err: `argument "role": want key=value to set a label or key- to remove one`},
		{args: "=v", err: `argument "=v": label key "": want 1 to 63`},
		{args: "-", err: `argument "-": label key "": want 1 to 63`},
		{args: "a=-x", err: `argument "a=-x": label a="-x": want a value of at most 63`},
		{args: "Ex.com/a=1", err: `label key "Ex.com/a": want a DNS name`},
		{args: "a/b/c=1", err: `label key "a/b/c": want 1 to 63`},
		{args: "go-cluster.io/host=x", err: `label go-cluster.io/host: the prefix go-cluster.io/ is reserved`},
		{args: "go-cluster.io/host-", err: `the prefix go-cluster.io/ is reserved`},
		{args: "", err: "no label given"},
	}
	for _, tt := range tests {
		got, err := ParseLabelChange(strings.Fields(tt.args))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got error %v, want %s", tt.args, err, tt.err)
			}
			continue
		}
		if got.Set != nil && len(got.Set) == 0 {
			got.Set = nil
		}
		if err != nil || !cmp.Equal(got, tt.want) {
			t.Errorf("%q: %v, %s", tt.args, err, cmp.Diff(tt.want, got))
		}
	}
}

func TestValidateLabelsLimits(t *testing.T) {
	labels := map[string]string{}
	for i := range MaxLabels {
		labels[fmt.Sprintf("k%d", i)] = ""
	}
	if err := ValidateLabels(labels); err != nil {
		t.Error(err)
	}
	labels["go-cluster.io/host"] = "h"
	if err := ValidateLabels(labels); err == nil || err.Error() != "65 labels: want at most 64" {
		t.Errorf("got %v", err)
	}
	big := map[string]string{}
	for i := range MaxLabels {
		big[fmt.Sprintf("%s.%02d/k", strings.Repeat("p", 245), i)] = strings.Repeat("v", 63)
	}
	if err := ValidateLabels(big); err == nil || !strings.Contains(err.Error(), "want at most 16384") {
		t.Errorf("got %v", err)
	}
	if err := ValidateLabels(map[string]string{"a b": "1", "c": "x y"}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two faults, got %v", err)
	}
}

func TestLabelChangeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SampledFrom([]string{"a", "b", "c", "x.io/d"})
		before := rapid.MapOf(keys, rapid.StringMatching(`[a-z]{0,3}`)).Draw(t, "before")
		set := rapid.MapOf(keys, rapid.StringMatching(`[a-z]{0,3}`)).Draw(t, "set")
		var args []string
		for k, v := range set {
			args = append(args, k+"="+v)
		}
		removed := map[string]bool{}
		for _, k := range rapid.SliceOfDistinct(keys, func(k string) string { return k }).Draw(t, "remove") {
			if _, isSet := set[k]; !isSet {
				removed[k] = true
				args = append(args, k+"-")
			}
		}
		if len(args) == 0 {
			return
		}
		change, err := ParseLabelChange(args)
		if err != nil {
			t.Fatal(err)
		}
		copied := maps.Clone(before)
		after := change.Apply(before)
		if !maps.Equal(before, copied) {
			t.Fatal("Apply modified its argument")
		}
		for _, k := range []string{"a", "b", "c", "x.io/d"} {
			want, has := before[k]
			if v, isSet := set[k]; isSet {
				want, has = v, true
			} else if removed[k] {
				has = false
			}
			if got, found := after[k]; found != has || has && got != want {
				t.Fatalf("%s: got %q %v, want %q %v", k, got, found, want, has)
			}
		}
		if !maps.Equal(change.Apply(after), after) {
			t.Fatal("applying twice differs from once")
		}
	})
}

func FuzzLabelChange(f *testing.F) {
	for _, s := range []string{"a=b", "a-", "a=b a-", "x.io/k=v y-", "=", "-", "go-cluster.io/x=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		change, err := ParseLabelChange(strings.Fields(s))
		if err != nil {
			return
		}
		after := change.Apply(nil)
		if len(after) <= MaxLabels {
			if err := ValidateLabels(after); err != nil && !strings.Contains(err.Error(), "bytes") {
				t.Fatalf("accepted %q: %v", s, err)
			}
		}
		for _, k := range change.Remove {
			if _, found := after[k]; found || ReservedLabel(k) {
				t.Fatalf("%q: removed %s", s, k)
			}
		}
	})
}
