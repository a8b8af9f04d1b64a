package projections_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded/servertest"
)

// site is a cluster's streams on a real server, in virtual time.
type site struct {
	events.Subjects
	t   *testing.T
	dir string
	js  jetstream.JetStream

	servertest.Server
}

func inBubble(t *testing.T, fn func(t *testing.T, s *site)) {
	t.Helper()
	servertest.Bubble(t, func(t *testing.T) {
		subjects, err := events.NewSubjects("test")
		if err != nil {
			t.Fatal(err)
		}
		s := &site{Subjects: subjects, t: t, dir: t.TempDir()}
		s.Start(s.t, s.dir)
		defer s.Stop()
		nc, err := transport.Connect(transport.ConnectOptions{Name: t.Name(), InProcess: s})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if s.js, err = jetstream.New(nc); err != nil {
			t.Fatal(err)
		}
		if err := transport.Bootstrap(t.Context(), s.js, subjects, transport.BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
		fn(t, s)
	})
}

func (s *site) open() *events.Log {
	s.t.Helper()
	log, err := events.Open(s.t.Context(), s.js, s.Subjects, time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	return log
}

// run starts a replica; ended has what Run returned.
func (s *site) run(log *events.Log) (r *projections.Replica, ended chan error) {
	ctx, cancel := context.WithCancel(s.t.Context())
	r, ended = projections.NewReplica(log, func(error) {}), make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- r.Run(ctx)
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return r, ended
}

// cordon appends n events to a node's aggregate and returns the last.
func (s *site) cordon(log *events.Log, node string, head events.Head, n int) events.Head {
	s.t.Helper()
	for i := range n {
		e, err := log.Append(s.t.Context(), events.Draft{Aggregate: events.Node(node), Node: node, Actor: "test", Cause: fmt.Sprint(i), Data: &events.NodeCordoned{Node: node}}, head)
		if err != nil {
			s.t.Fatal(err)
		}
		head = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
	}
	return head
}

func TestReplicaCatchesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log := s.open()
		head := s.cordon(log, "node-1", events.Head{}, 10)
		r, _ := s.run(log)
		if err := r.CatchUp(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := r.Seq(); got != head.Seq {
			t.Errorf("caught up to %d, the log ends at %d", got, head.Seq)
		}
		r.View(func(c *projections.Cluster) {
			if got := c.Head(events.Node("node-1")); got != head {
				t.Errorf("head %+v, want %+v", got, head)
			}
			if !c.Nodes["node-1"].Cordoned || c.Time.IsZero() {
				t.Errorf("node %+v at %s", c.Nodes["node-1"], c.Time)
			}
		})
		// The head of the fold is what the next append needs.
		next := s.cordon(log, "node-1", head, 1)
		if err := r.Await(t.Context(), next.Seq); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReplicaAwaits(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log := s.open()
		r, _ := s.run(log)
		if err := r.Await(t.Context(), 0); err != nil {
			t.Errorf("what needs nothing waits: %v", err)
		}
		changed := r.Changed()
		select {
		case <-changed:
			t.Error("changed without an event")
		default:
		}
		reached := make(chan error, 1)
		go func() { reached <- r.Await(t.Context(), 2) }()
		head := s.cordon(log, "node-1", events.Head{}, 1)
		<-changed
		synctest.Wait()
		select {
		case err := <-reached:
			t.Errorf("at sequence 1 it has reached 2: %v", err)
		default:
		}
		s.cordon(log, "node-1", head, 1)
		if err := <-reached; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Await(ctx, 3); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is at 2 and has not reached 3") {
			t.Errorf("got %v", err)
		}
		if err := r.CatchUp(ctx, 3); err == nil {
			t.Error("it has caught up with what is not there")
		}
	})
}

// Who reads along begins behind what he has, misses nothing after it, and is turned away when the fold is past it.
func TestReplicaReadAlong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log := s.open()
		r, _ := s.run(log)
		head := s.cordon(log, "node-1", events.Head{}, 2)
		if err := r.Await(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.Also(1, nil); ok {
			t.Error("the event at 2 is missed")
		}
		var exact, ahead []uint64
		end, ok := r.Also(2, func(m events.Message) { exact = append(exact, m.Event.Seq) })
		if !ok {
			t.Fatal("turned away from the end of the fold")
		}
		if _, ok := r.Also(3, func(m events.Message) { ahead = append(ahead, m.Event.Seq) }); !ok {
			t.Fatal("turned away from before the fold")
		}
		head = s.cordon(log, "node-1", head, 2)
		if err := r.Await(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		end()
		s.cordon(log, "node-1", head, 1)
		if err := r.Await(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !slices.Equal(exact, []uint64{3, 4}) || !slices.Equal(ahead, []uint64{4, 5}) {
			t.Errorf("read %v and %v, want 3, 4 and 4, 5", exact, ahead)
		}
	})
}

func TestReplicaOutlivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log := s.open()
		head := s.cordon(log, "node-1", events.Head{}, 3)
		r, ended := s.run(log)
		if err := r.Await(t.Context(), head.Seq); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.Stop()
			<-time.After(30 * time.Second)
			s.Start(s.t, s.dir)
			head = s.cordon(log, "node-1", head, 2)
			if err := r.Await(t.Context(), head.Seq); err != nil {
				t.Fatal(err)
			}
		}
		r.View(func(c *projections.Cluster) {
			if got := c.Head(events.Node("node-1")); got != head || len(c.Quarantined) > 0 {
				t.Errorf("head %+v, want %+v; quarantined %v", got, head, c.Quarantined)
			}
		})
		select {
		case err := <-ended:
			t.Errorf("it ended: %v", err)
		default:
		}
	})
}

// A backup was restored while the replica ran: what it folded is not in the log any more. Whoever waits is told, and it stops.
func TestReplicaAheadOfTheStream(t *testing.T) {
	for _, again := range []int{0, 1, 5} { // events appended to the restored log before anybody looks
		t.Run(fmt.Sprint(again, " appended since"), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				log, other := s.open(), s.open() // the replica may notice while others append
				head := s.cordon(log, "node-1", events.Head{}, 2)
				s.Stop()
				backup := t.TempDir()
				copyTree(t, s.dir, backup)
				s.Start(s.t, s.dir)
				r, ended := s.run(log)
				last := s.cordon(log, "node-1", head, 3)
				if err := r.Await(t.Context(), last.Seq); err != nil {
					t.Fatal(err)
				}
				s.Stop()
				s.Start(s.t, backup)
				s.cordon(other, "node-1", head, again)
				voided(t, r, ended)
			})
		})
	}
}

// The stream was deleted and made again under the same name.
func TestReplicaOfAnotherIncarnation(t *testing.T) {
	for _, again := range []int{0, 1, 3, 5} {
		t.Run(fmt.Sprint(again, " appended since"), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				log := s.open()
				head := s.cordon(log, "node-1", events.Head{}, 3)
				r, ended := s.run(log)
				if err := r.Await(t.Context(), head.Seq); err != nil {
					t.Fatal(err)
				}
				if err := s.js.DeleteStream(t.Context(), s.EventsStream()); err != nil {
					t.Fatal(err)
				}
				if err := transport.Bootstrap(t.Context(), s.js, s.Subjects, transport.BootstrapOptions{}); err != nil {
					t.Fatal(err)
				}
				s.cordon(s.open(), "node-1", events.Head{}, again)
				voided(t, r, ended)
			})
		})
	}
}

// voided checks that the replica ends with an error, and that whoever waits for it is told.
func voided(t *testing.T, r *projections.Replica, ended chan error) {
	t.Helper()
	waiting := make(chan error, 1)
	go func() { waiting <- r.Await(t.Context(), 1000) }()
	limit := time.NewTimer(5 * time.Minute)
	defer limit.Stop()
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, context.Canceled) {
			t.Fatalf("it ended with %v", err)
		}
		t.Log(err)
	case <-limit.C:
		r.View(func(c *projections.Cluster) {
			t.Fatalf("it goes on with a fold that is void: at %d, %v", c.Seq, c.Quarantined)
		})
	}
	if err := <-waiting; err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("who waits got %v", err)
	}
	if err := r.Await(t.Context(), 0); err == nil {
		t.Error("a void fold has reached something")
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
