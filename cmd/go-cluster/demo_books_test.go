//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

func TestReadJournal(t *testing.T) {
	line := func(node string, epoch, pid, at, n int) string {
		return fmt.Sprintf(`{"node":%q,"epoch":%d,"pid":%d,"boottime":%d,"n":%d}`+"\n", node, epoch, pid, at, n)
	}
	torn := `{"node":"node-1","ep` + "\n"
	good := line("a", 1, 7, 10, 1) + line("a", 1, 7, 20, 2)
	for _, tc := range []struct {
		name, text string
		lives      int
		fault      string
	}{
		{"a move", good + line("b", 2, 8, 50, 3), 2, ""},
		{"a restart in place", good + line("a", 1, 8, 50, 3), 2, ""},
		{"killed while it wrote", good + torn + line("a", 1, 8, 50, 3), 2, ""},
		{"nothing yet", "", 0, ""},
		{"a pid used again", good + line("b", 2, 8, 50, 3) + line("a", 3, 7, 60, 4), 3, ""},
		{"two at once", good + line("b", 2, 8, 50, 3) + line("a", 1, 7, 60, 4), 3, "two at once"},
		{"an epoch goes back", good + line("b", 0, 8, 50, 3), 2, "epoch 0 after 1"},
		{"an epoch on two nodes", good + line("b", 1, 8, 50, 3), 2, "epoch 1 on a and on b"},
		{"a number twice", good + line("b", 2, 8, 50, 2), 2, "number 2 comes after 2"},
		{"a number is lost", good + line("b", 2, 8, 50, 4), 2, "number 4 comes after 2"},
		{"time goes back", good + line("b", 2, 8, 15, 3), 2, "5ns before"},
		{"torn and alive", good + torn + line("a", 1, 7, 50, 3), 1, "lived on after a torn line"},
	} {
		b := readJournal([]byte(tc.text))
		if len(b.lives) != tc.lives {
			t.Errorf("%s: %d lives %v, want %d", tc.name, len(b.lives), b.lives, tc.lives)
		}
		if tc.fault == "" && len(b.faults) > 0 || tc.fault != "" && !strings.Contains(strings.Join(b.faults, "; "), tc.fault) {
			t.Errorf("%s: faults %q, want %q", tc.name, b.faults, tc.fault)
		}
	}
	b := readJournal([]byte(good + line("b", 2, 8, 50, 3) + line("b", 2, 9, 90, 4) + line("a", 3, 10, 200, 5)))
	if got := b.longestMove(3); got != 30 || !slices.Equal(b.epochs(), []uint64{1, 2, 3}) {
		t.Errorf("longest pause of a move %s, epochs %v", got, b.epochs())
	}
}

func TestLogBooks(t *testing.T) {
	hash := func(raw string) string {
		sum := sha256.Sum256([]byte(raw))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	message := func(seq uint64, a events.Aggregate, rev uint64, prev string, data any) events.Message {
		return events.Message{Raw: []byte(fmt.Sprint("event ", seq)), Event: events.Event{Seq: seq, Aggregate: a, Rev: rev, Prev: prev, App: a.ID, Data: data}}
	}
	app, cluster := events.App("counter"), events.Cluster("demo")
	admitted := message(1, cluster, 1, "", &events.PlanAdmitted{Moves: []events.Move{{Migration: "m-1", Instance: "counter-0"}}})
	granted := message(2, app, 1, "", &events.LeadershipGranted{Epoch: 4})
	completed := message(3, app, 2, hash("event 2"), &events.MigrationCompleted{Ref: events.Ref{Migration: "m-1"}})
	failed := message(3, app, 2, hash("event 2"), &events.MigrationFailed{Ref: events.Ref{Migration: "m-1", Instance: "counter-0"}, Detail: "late"})
	for _, tc := range []struct {
		name          string
		log           []events.Message
		fault         string
		open, failed  int
		wantCompleted int
	}{
		{"whole", []events.Message{admitted, granted, completed}, "", 0, 0, 1},
		{"under way", []events.Message{admitted, granted}, "", 1, 0, 0},
		{"failed", []events.Message{admitted, granted, failed}, "", 0, 1, 0},
		{"ended twice", []events.Message{admitted, granted, completed, message(4, app, 3, hash("event 3"), completed.Event.Data)}, "not admitted or has ended", 0, 0, 2},
		{"not admitted", []events.Message{granted, completed}, "not admitted", 0, 0, 1},
		{"changed afterwards", []events.Message{admitted, {Raw: []byte("other bytes"), Event: granted.Event}, completed}, "want 2 after", 0, 0, 1},
		{"taken out", []events.Message{admitted, completed}, "is revision 2 after", 0, 0, 1},
		{"malformed", []events.Message{admitted, granted, completed, {Err: &events.MalformedError{Seq: 4, Reason: "bad"}}}, "malformed: bad", 0, 0, 1},
	} {
		b := newLogBooks()
		for _, m := range tc.log {
			b.enter(m)
		}
		b.close()
		if tc.fault == "" && len(b.faults) > 0 || tc.fault != "" && !strings.Contains(b.chains(), tc.fault) {
			t.Errorf("%s: %s, want %q", tc.name, b.chains(), tc.fault)
		}
		if len(b.open) != tc.open || len(b.failed) != tc.failed || b.completed != tc.wantCompleted {
			t.Errorf("%s: open %v, failed %v, completed %d", tc.name, b.open, b.failed, b.completed)
		}
	}
}

func TestFewestMoves(t *testing.T) {
	for _, tc := range []struct {
		on   []int
		want int
	}{{[]int{1, 1, 1}, 0}, {[]int{0, 2, 1}, 1}, {[]int{0, 0, 3}, 2}, {[]int{2, 1, 1}, 0}, {[]int{0, 2, 2}, 1}, {[]int{5, 0, 0}, 3}, {[]int{0}, 0}} {
		if got := fewestMoves(tc.on); got != tc.want {
			t.Errorf("%v: %d moves, want %d", tc.on, got, tc.want)
		}
	}
}

func TestInOrder(t *testing.T) {
	have := strings.Fields("a b c d")
	for want, ok := range map[string]bool{"a b c d": true, "a d": true, "": true, "b a": false, "a e": false, "a a": false} {
		if inOrder(have, strings.Fields(want)) != ok {
			t.Errorf("%q in %q: want %v", want, have, ok)
		}
	}
}

// A member that answers at two addresses while it moves is one, and one that does not answer is none.
func TestAnswering(t *testing.T) {
	member := func(text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	old, fresh := member("hello from web-0 on node-1"), member("hello from web-0 on node-2")
	if met := answering(t.Context(), []string{old, fresh, gone.URL}); !slices.Equal(met, []string{"web-0"}) {
		t.Errorf("met %v", met)
	}
	if met := answering(t.Context(), []string{old, member("hello from web-1 on node-3")}); !slices.Equal(met, []string{"web-0", "web-1"}) {
		t.Errorf("met %v", met)
	}
}

// A round that a member misses is counted, and what the client met is told.
func TestPoolWatchMissesAMember(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p := servePlane(t, "pool", nil)
	w := &poolWatch{client: &client{session: &session{ctx: ctx}, nc: p.nc, subjects: subjectsOf(t, "pool")}, app: "web", members: 2}
	w.round(ctx, []string{"http://127.0.0.1:1"})
	if tally := w.soFar(); tally.rounds != 1 || len(tally.short) != 1 || !strings.Contains(tally.short[0], "0 of 2 members answered (none)") {
		t.Errorf("%+v", tally)
	}
	d := &demo{story: &story{out: &lines{}}, pool: w}
	if err := d.checkPool("both"); err == nil || !strings.Contains(err.Error(), "1 of 1 rounds short") {
		t.Errorf("error %v", err)
	}
}

func subjectsOf(t *testing.T, cluster string) events.Subjects {
	t.Helper()
	s, err := events.NewSubjects(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
