package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/spec"
)

func TestOnlyStored(t *testing.T) {
	policy := spec.Policy{Migration: spec.MigrationPolicy{LoadThreshold: 0.8, MaxConcurrent: 2}, AutoRebalance: spec.AutoRebalancePolicy{Enabled: true}}
	for _, tc := range []struct {
		enforced, want []string
	}{
		{nil, []string{"auto_rebalance.enabled", "migration.load_threshold", "migration.max_concurrent"}},
		{[]string{"freeze", "load_threshold"}, []string{"auto_rebalance.enabled", "migration.max_concurrent"}},
		{[]string{"migration.max_concurrent", "auto_rebalance"}, []string{"migration.load_threshold"}},
		{[]string{"migration", "auto_rebalance"}, nil},
	} {
		if got, err := onlyStored(policy, tc.enforced); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%v enforced: %v, %v; want %v", tc.enforced, got, err, tc.want)
		}
	}
	if got, err := onlyStored(spec.Policy{}, nil); err != nil || got != nil {
		t.Errorf("none set: %v, %v", got, err)
	}
}

func TestMovesLater(t *testing.T) {
	off, above20, above10 := spec.AutoRebalancePolicy{Threshold: 0.1}, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2}, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.1}
	for _, tc := range []struct {
		now, file spec.AutoRebalancePolicy
		want      string
	}{
		{off, above20, "would begin, and"}, {above20, above10, "would begin at less imbalance"}, {above10, above20, ""}, {above10, above10, ""}, {above10, off, ""}, {off, off, ""},
	} {
		if got := movesLater(tc.now, tc.file); !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
			t.Errorf("%+v → %+v: %q, want %q", tc.now, tc.file, got, tc.want)
		}
	}
}
