package main

import (
	"slices"
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
