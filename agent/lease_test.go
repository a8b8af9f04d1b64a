package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/api"
)

func TestNextLeaseStep(t *testing.T) {
	me := identity{Cluster: "c", Node: "node-1", Machine: "mine", Boot: "today"}
	for name, c := range map[string]struct {
		lease  api.Lease
		exists bool
		want   leaseStep
	}{
		"nothing":               {want: leaseStep{do: leaseBegin, inc: "mine.today.1", n: 1}},
		"free":                  {api.Lease{State: api.LeaseFree, Machine: "other", N: 4}, true, leaseStep{do: leaseBegin, inc: "mine.today.5", n: 5}},
		"own held":              {api.Lease{State: api.LeaseHeld, Machine: "mine", Boot: "today", Inc: "mine.today.2", N: 2}, true, leaseStep{do: leaseRenew, inc: "mine.today.2", n: 2}},
		"own held, other boot":  {api.Lease{State: api.LeaseHeld, Machine: "mine", Boot: "before", Inc: "mine.before.2", N: 2}, true, leaseStep{do: leaseBegin, inc: "mine.today.3", n: 3}},
		"own closed":            {api.Lease{State: api.LeaseClosed, Machine: "mine", Boot: "today", Inc: "mine.today.2", N: 2}, true, leaseStep{do: leaseYield, inc: "mine.today.2", n: 2}},
		"own closed, rebooted":  {api.Lease{State: api.LeaseClosed, Machine: "mine", Boot: "before", Inc: "mine.before.2", N: 2}, true, leaseStep{do: leaseYield, inc: "mine.before.2", n: 2}},
		"closed of another":     {api.Lease{State: api.LeaseClosed, Machine: "other", Boot: "today", Inc: "other.x.1", N: 1}, true, leaseStep{do: leaseWait}},
		"own yielded":           {api.Lease{State: api.LeaseYielded, Machine: "mine", Boot: "today", Inc: "mine.today.2", N: 2}, true, leaseStep{do: leaseWait}},
		"a state of the future": {api.Lease{State: "parked", Machine: "mine", Boot: "today", Inc: "mine.today.2", N: 2}, true, leaseStep{do: leaseWait}},
	} {
		t.Run(name, func(t *testing.T) {
			got := nextLeaseStep(me, c.lease, c.exists)
			got.why = ""
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	t.Run("held by another machine", func(t *testing.T) {
		got := nextLeaseStep(me, api.Lease{State: api.LeaseHeld, Machine: "other", Boot: "today", Inc: "other.today.1", N: 1, Host: "rack-7"}, true)
		if got.do != leaseRefuse || !strings.Contains(got.why, "rack-7") || !strings.Contains(got.why, "other.today.1") {
			t.Errorf("got %+v, want a refusal that names the other", got)
		}
	})
}

// What many instances have to say at once must not keep the lease from being renewed: all of them would end with it.
func TestLeaseOfManyThatAreIllFits(t *testing.T) {
	say := func(n, long int) api.Lease {
		k := &keeper{cfg: Config{Node: "node-1", TTL: time.Minute}, payload: func(l *api.Lease) {
			for i := range n {
				l.Instances = append(l.Instances, api.InstanceHealth{ID: fmt.Sprintf("app%d-0", i), App: fmt.Sprintf("app%d", i), State: "failed",
					Detail: shorten(strings.Repeat("ä\x01", long)), Data: &api.DataHealth{Error: shorten(strings.Repeat("ß\n", long))}})
			}
		}}
		return k.lease(api.LeaseHeld, "i1", 1)
	}
	for _, n := range []int{1, 200, 800} {
		l := say(n, 1000)
		b, err := json.Marshal(l)
		if err != nil || len(b) > api.LeaseMax || len(l.Instances) != n {
			t.Errorf("of %d: %d bytes of %d instances, at most %d: %v", n, len(b), len(l.Instances), api.LeaseMax, err)
		}
		if d := l.Instances[0].Data.Error; n == 1 && len(d) < 400 || d == "" {
			t.Errorf("of %d: nothing is said of what is wrong: %q", n, d)
		}
	}
}

// Whatever is stored: held is written only over nothing, free, and the machine's own.
func TestNeverHeldOverAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		me := identity{Node: "n", Machine: "a", Boot: "1"}
		l := api.Lease{
			State:   rapid.SampledFrom([]string{api.LeaseHeld, api.LeaseYielded, api.LeaseClosed, api.LeaseFree, "unknown"}).Draw(t, "state"),
			Machine: rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "machine"),
			Boot:    rapid.SampledFrom([]string{"1", "2", ""}).Draw(t, "boot"),
			N:       rapid.Uint64Range(0, 5).Draw(t, "n"),
		}
		l.Inc = identity{Machine: l.Machine, Boot: l.Boot}.incarnation(l.N)
		step := nextLeaseStep(me, l, true)
		writesHeld := step.do == leaseBegin || step.do == leaseRenew
		mayHold := l.State == api.LeaseFree || l.State == api.LeaseHeld && l.Machine == "a"
		if writesHeld != mayHold {
			t.Fatalf("%+v over %+v", step, l)
		}
		if step.do == leaseYield && (l.State != api.LeaseClosed || l.Machine != "a" || step.inc != l.Inc) {
			t.Fatalf("%+v over %+v", step, l)
		}
		if step.do == leaseBegin && (step.inc == l.Inc || step.n != l.N+1) {
			t.Fatalf("%+v over %+v: not a new incarnation", step, l)
		}
		if step.do == leaseRenew && (l.Boot != "1" || step.inc != l.Inc) {
			t.Fatalf("%+v over %+v: what ran in another boot does not run any more", step, l)
		}
	})
}

// A node never believes to have longer than TTL − margin from before the sending of the write that is stored.
func TestDeadlineIsNeverTooLate(t *testing.T) {
	const ttl, margin = 30 * time.Second, 2 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		now := time.Duration(rapid.Int64Range(0, 1000).Draw(t, "start")) * time.Second
		stored, storedSent := uint64(7), now // the server's truth
		holder := api.Lease{State: api.LeaseHeld, Inc: "i"}
		tn := tenure{inc: "i", n: 1}
		tn.renewed(stored, now)
		var log []string
		for range rapid.IntRange(1, 30).Draw(t, "renewals") {
			now += time.Duration(rapid.Int64Range(1, 9000).Draw(t, "pause")) * time.Millisecond
			sent := now
			arrives := rapid.Bool().Draw(t, "arrives")
			accepted := arrives && tn.seq == stored && holder.State == api.LeaseHeld
			refused := arrives && !accepted
			if accepted {
				stored, storedSent = stored+1, sent
			}
			now += time.Duration(rapid.Int64Range(0, 3000).Draw(t, "answer")) * time.Millisecond
			acked := rapid.Bool().Draw(t, "acked")
			if rapid.IntRange(0, 9).Draw(t, "closing") == 0 {
				holder.State, stored = api.LeaseClosed, stored+1
			}
			log = append(log, fmt.Sprintf("sent %s accepted %t refused %t acked %t closed %t", sent, accepted, refused, acked, holder.State == api.LeaseClosed))
			switch {
			case accepted && acked:
				tn.renewed(stored, sent)
				if holder.State == api.LeaseClosed {
					tn.seq = stored - 1
				}
			case refused && acked:
				before := tn.deadline(ttl, margin)
				if !tn.moved(holder, true, stored) {
					if holder.State == api.LeaseHeld {
						t.Fatalf("gave up its own lease: %v", log)
					}
					if tn.deadline(ttl, margin) != before {
						t.Fatalf("a lost lease moved the deadline: %v", log)
					}
					return
				}
			default:
				tn.unknown(sent)
			}
			if got := tn.deadline(ttl, margin); got > storedSent+ttl-margin {
				t.Fatalf("deadline %s, but the stored write was sent at %s: %v", got, storedSent, log)
			}
		}
	})
}

func TestAdoptedRenewalCounts(t *testing.T) {
	held := api.Lease{State: api.LeaseHeld, Inc: "i"}
	tn := tenure{inc: "i", n: 1}
	tn.renewed(7, 10*time.Second)
	tn.unknown(15 * time.Second)
	tn.unknown(16 * time.Second)
	if !tn.moved(held, true, 8) || tn.seq != 8 || tn.deadline(30*time.Second, 2*time.Second) != 43*time.Second {
		t.Errorf("after adoption: %+v", tn)
	}
	if !tn.moved(held, true, 9) || tn.seq != 9 || tn.deadline(30*time.Second, 2*time.Second) != 43*time.Second {
		t.Errorf("a write that nobody here has sent moved the deadline: %+v", tn)
	}
	for _, l := range []api.Lease{{State: api.LeaseClosed, Inc: "i"}, {State: api.LeaseHeld, Inc: "j"}, {State: api.LeaseFree}} {
		if tn.moved(l, true, 10) || tn.seq != 9 {
			t.Errorf("adopted %+v", l)
		}
	}
	if tn.moved(api.Lease{}, false, 0) {
		t.Error("adopted nothing")
	}
}
