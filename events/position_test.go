package events_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
)

func TestPositionText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := events.Position{Epoch: rapid.Uint64().Draw(t, "epoch"), Seq: rapid.Uint64().Draw(t, "seq")}
		if q, err := events.ParsePosition(p.String()); err != nil || q != p {
			t.Fatalf("%v reads as %v, %v", p, q, err)
		}
	})
	for _, s := range []string{"e1", "1:2", "e1:", "e:2", "e01:2", "e0:0", "e1:2 ", "e1:-2", "e18446744073709551616:1"} {
		if p, err := events.ParsePosition(s); err == nil {
			t.Errorf("%q reads as %v", s, p)
		}
	}
}
