package replicationtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Use is what a client asks of a ledger: to write an entry, or to read the newest.
type Use struct {
	Write bool
	Entry string
}

// Never is when a call returns that did not say what it did.
const Never = 1 << 60

// Linearizable says whether what clients saw, calls with a Use, could have been one machine's, which has those entries at the end. A write
// of unknown outcome that is not among them was not made. It fails the test where that is not found out.
func Linearizable(t testing.TB, entries []string, calls []porcupine.Operation) bool {
	t.Helper()
	there := map[string]bool{}
	for _, e := range entries {
		there[e] = true
	}
	calls = slices.DeleteFunc(slices.Clone(calls), func(op porcupine.Operation) bool {
		c := op.Input.(Use)
		return c.Write && op.Return == Never && !there[c.Entry]
	})
	r := porcupine.CheckOperationsTimeout(ordered(entries), calls, time.Minute)
	if r == porcupine.Unknown {
		t.Errorf("whether the history of %d calls is linearizable was not found out within a minute", len(calls))
	}
	return r == porcupine.Ok
}

// ordered: writes are made in the order in which the entries are at the end, and a read sees the newest. That order is known, so that writes
// of which no client knows the outcome need not be tried at every place.
func ordered(entries []string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, output any) (bool, any) {
			made := state.(int)
			switch c := input.(Use); {
			case c.Write:
				return made < len(entries) && entries[made] == c.Entry, made + 1
			case made == 0:
				return output == "", made
			default:
				return output == entries[made-1], made
			}
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %v", input, output) },
	}
}
