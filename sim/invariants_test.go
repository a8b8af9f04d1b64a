package sim

import (
	"testing"

	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/invariants/planted"
)

// lawful fails the test for every law that is broken.
func lawful(t *testing.T, c *Cluster, settled bool) {
	t.Helper()
	broken := c.violations(settled)
	for _, v := range broken {
		t.Errorf("violation %s: %s", v.Name, v)
	}
	if len(broken) > 0 {
		t.Log(c.Story())
	}
}

// TestMadeHistories are lawful where no mistake is planted.
func TestMadeHistories(t *testing.T) {
	if planted.Name() != "" {
		t.Skip("this build has the mistake " + planted.Name())
	}
	for name, play := range made {
		t.Run(name, func(t *testing.T) {
			Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
				play(c)
				quiet(c)
				if name == "no_quarantine" { // the message that is no event breaks the law of form, and nothing else does any
					for _, v := range c.violations(true) {
						if v.Invariant != invariants.Form {
							t.Errorf("violation %s: %s", v.Name, v)
						}
					}
					return
				}
				lawful(t, c, true)
			})
		})
	}
}
