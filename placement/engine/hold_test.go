package engine_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// testdata/guardrails.txt says what guardrails do to plans on a file. A case is a title, "[rebalance]" in it if one is asked for, the state
// as people write it, and after ---- each move, when it may begin, and everything that holds it. Times are of 1 January 2026, UTC.
func TestGuardrailsOnAFile(t *testing.T) {
	raw, err := os.ReadFile("testdata/guardrails.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split("\n"+string(raw), "\n== ")[1:]
	if len(cases) < 10 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		title, rest, _ := strings.Cut(c, "\n")
		state, want, found := strings.Cut(rest, "\n----\n")
		t.Run(title, func(t *testing.T) {
			s, err := snapshot.Decode([]byte(state))
			if err != nil || !found {
				t.Fatal(err)
			}
			plan := compute(t, s, engine.Request{Rebalance: strings.Contains(title, "[rebalance]")})
			if d := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(heldText(plan.Plan))); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			for _, v := range check.Plan(s, plan.Plan) {
				t.Error(v)
			}
		})
	}
}

func heldText(p *snapshot.Plan) string {
	clock := func(at time.Time) string { return at.UTC().Format("02 15:04") }
	var b strings.Builder
	for _, m := range p.Moves {
		fmt.Fprintf(&b, "%s %s → %s (%s)", m.Instance, orDash(m.From), orDash(m.To), m.Class)
		if !m.NotBefore.IsZero() {
			fmt.Fprintf(&b, " not before %s", clock(m.NotBefore))
		}
		fmt.Fprintln(&b)
		for _, d := range p.Deferred {
			if d.Instance != m.Instance {
				continue
			}
			until := ""
			if !d.Until.IsZero() {
				until = " until " + clock(d.Until)
			}
			fmt.Fprintf(&b, "  %s%s: %s\n", d.Rule, until, d.Detail)
		}
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
