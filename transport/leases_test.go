package transport

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

func held(node, inc string) api.Lease {
	return api.Lease{State: api.LeaseHeld, Node: node, Inc: inc, Machine: "m1", Boot: "b1", N: 1, TTL: spec.Duration(30 * time.Second)}
}

func TestLeaseIsCompareAndAppend(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		l := NewLeases(s.js, s.Subjects)
		if _, ok, err := l.Get(t.Context(), "n1"); ok || err != nil {
			t.Fatalf("got %t, %v, want no lease", ok, err)
		}
		first, err := l.Put(t.Context(), held("n1", "i1"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Put(t.Context(), held("n2", "i9"), 0); err != nil {
			t.Fatal("another node's lease is in the way:", err)
		}
		second, err := l.Put(t.Context(), held("n1", "i1"), first)
		if err != nil {
			t.Fatal(err)
		}
		for _, expect := range []uint64{0, first, second + 1} {
			if _, err := l.Put(t.Context(), held("n1", "i2"), expect); !errors.Is(err, ErrLeaseMoved) {
				t.Errorf("over sequence %d: got %v, want ErrLeaseMoved", expect, err)
			}
		}
		rec, ok, err := l.Get(t.Context(), "n1")
		if err != nil || !ok || rec.Seq != second || rec.Lease.Inc != "i1" || time.Since(rec.Stored) != 0 {
			t.Errorf("got %+v, %t, %v", rec, ok, err)
		}
	})
}

func TestLeaseHasOneWinner(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		l := NewLeases(s.js, s.Subjects)
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			wins int
		)
		for range 8 {
			wg.Go(func() {
				_, err := l.Put(t.Context(), held("n1", "i1"), 0)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					wins++
				case !errors.Is(err, ErrLeaseMoved):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		same(t, "winners", wins, 1)
	})
}

func TestLeaseThatCannotBe(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		l := NewLeases(s.js, s.Subjects)
		for want, change := range map[string]func(l *api.Lease){
			"node name":              func(l *api.Lease) { l.Node = "a.b" },
			"unknown state":          func(l *api.Lease) { l.State = "owned" },
			"without an incarnation": func(l *api.Lease) { l.Inc = "" },
			"TTL":                    func(l *api.Lease) { l.TTL = 0 },
			"at most":                func(l *api.Lease) { l.Host = strings.Repeat("h", api.LeaseMax) },
		} {
			lease := held("n1", "i1")
			change(&lease)
			if _, err := l.Put(t.Context(), lease, 0); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want it to say %q", err, want)
			}
		}
	})
}

// An acknowledgement that gets lost leaves the agent not knowing; its own incarnation in what it reads back tells.
func TestLeaseLostAcknowledgement(t *testing.T) {
	onServer(t, func(t *testing.T, s *site) {
		p := newProxy(t, s.srv.ClientURL())
		nc, err := Connect(ConnectOptions{Name: "agent", Servers: p.url()})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		l := NewLeases(js, s.Subjects)
		seq, err := l.Put(t.Context(), held("n1", "i1"), 0)
		if err != nil {
			t.Fatal(err)
		}

		p.muteServer(true)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err = l.Put(ctx, held("n1", "i1"), seq)
		if !errors.Is(err, ErrLeaseUnknown) || errors.Is(err, ErrLeaseMoved) {
			t.Fatalf("got %v, want ErrLeaseUnknown", err)
		}
		back := nc.StatusChanged(nats.CONNECTED)
		p.muteServer(false)
		p.cut()
		within(t, back, "reconnect")
		if _, err := l.Put(t.Context(), held("n1", "i1"), seq); !errors.Is(err, ErrLeaseMoved) {
			t.Fatalf("got %v, want ErrLeaseMoved: the renewal was stored", err)
		}
		rec, ok, err := l.Get(t.Context(), "n1")
		if err != nil || !ok || rec.Lease.Inc != "i1" || rec.Seq <= seq {
			t.Errorf("got %+v, %t, %v, want the renewal behind sequence %d", rec, ok, err, seq)
		}
		if _, err := l.Put(t.Context(), held("n1", "i1"), rec.Seq); err != nil {
			t.Errorf("adopting the sequence read back: %v", err)
		}
	})
}

func TestGetMalformedLeaseKeepsItsSequence(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.publish(s.Lease("n1"), `{"state":"held","node":"n2"}`, nil)
		rec, ok, err := NewLeases(s.js, s.Subjects).Get(t.Context(), "n1")
		if err == nil || !ok || rec.Seq != 1 {
			t.Errorf("got %+v, %t, %v", rec, ok, err)
		}
	})
}

func TestFollow(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		l := NewLeases(s.js, s.Subjects)
		seq, err := l.Put(t.Context(), held("n1", "old"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if seq, err = l.Put(t.Context(), held("n1", "i1"), seq); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Beat(t.Context(), "labeler", "r-old"); err != nil {
			t.Fatal(err)
		}
		updates := make(chan LeaseUpdate, 100)
		stop := background(t.Context(), func(ctx context.Context) error {
			return l.Follow(ctx, func(u LeaseUpdate) { updates <- u })
		})
		u := within(t, updates, "the newest lease")
		if u.Node != "n1" || u.Record.Lease.Inc != "i1" || u.Record.Seq != seq || u.Beat != nil {
			t.Errorf("got %+v", u)
		}
		synctest.Wait()

		bad := []string{"", "{", "null", "[]", `{"state":"held"}`, `{"state":"held","node":"n2","inc":"i","ttl":"1s"}`,
			`{"state":"free","node":"n1","node":"n1"}`, strings.Repeat(`[`, 100), "{\"state\":\"\xff\"}"}
		for _, data := range bad {
			s.publish(s.Lease("n1"), data, nil)
			synctest.Wait() // else the next replaces it before it is seen
		}
		s.publish(s.Lease("n*1"), "{}", nil)
		synctest.Wait()
		s.publish(s.Beat("labeler", "r1"), `{"service":"planner","replica":"r1"}`, nil)
		synctest.Wait()
		s.publish(s.Beat("labeler", "r1"), `5`, nil)
		synctest.Wait()
		stored, err := l.Beat(t.Context(), "labeler", "r1")
		if err != nil {
			t.Fatal(err)
		}
		u = within(t, updates, "the heartbeat")
		if u.Beat == nil || !u.Beat.Stored.Equal(stored) || u.Beat.Beat != (api.Beat{Service: "labeler", Replica: "r1"}) {
			t.Errorf("got %+v", u)
		}
		same(t, "malformed", l.Malformed(), uint64(len(bad)+3))
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
