package labeler

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
)

var update = flag.Bool("update", false, "write the expectations of testdata anew")

// TestSilence runs the stories in testdata/silence*.txt: lines that are commands, and after each "run" what the labeler did, with
// the time at which it did. The nodes renew every 5 s, each at a second of its own; each
// second the labeler beats and judges, and its verdicts come true.
func TestSilence(t *testing.T) {
	files, err := filepath.Glob("testdata/silence*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, string(want))
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// world is a fold, the leases as stored, and one labeler that looks at them.
type world struct {
	v      *projections.Cluster
	stored map[string]services.SeenLease
	now    time.Duration
	out    bytes.Buffer

	seen  map[string]services.SeenLease
	pulse pulse
	watch watch
	deaf  bool
}

func tell(t *testing.T, story string) []byte {
	t.Helper()
	w := &world{v: projections.NewCluster("test"), stored: map[string]services.SeenLease{}, now: time.Hour}
	w.restart()
	for line := range strings.Lines(story) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // what was expected
		}
		fmt.Fprintln(&w.out, line)
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if err := w.command(f[0], f[1:]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return w.out.Bytes()
}

func (w *world) command(verb string, args []string) error {
	switch verb {
	case "nodes": // joined, and holding their leases
		for _, id := range args {
			w.v.Nodes[id] = &projections.Node{ID: id, Status: projections.StatusReady, Inc: id + "-1", Machine: "m-" + id, TTL: 30 * time.Second}
			w.write(api.Lease{State: api.LeaseHeld, Node: id, Inc: id + "-1", Machine: "m-" + id, N: 1, TTL: spec.Duration(30 * time.Second)})
		}
		w.look()
	case "holder": // holds a lease and has not declared itself
		w.write(api.Lease{State: api.LeaseHeld, Node: args[0], Inc: args[1], Machine: args[2], N: 1, TTL: spec.Duration(30 * time.Second)})
		w.look()
	case "yield":
		l := w.stored[args[0]].Lease
		l.State = api.LeaseYielded
		w.write(l)
		w.look()
	case "close": // as far as another labeler came
		l := w.stored[args[0]].Lease
		l.State = api.LeaseClosed
		w.write(l)
		w.look()
	case "log-lost": // the same
		w.v.Nodes[args[0]].Status = projections.StatusLost
	case "quarantine":
		w.v.Quarantined[events.Node(args[0])] = "damaged"
	case "vanish": // the lease stream was lost
		clear(w.stored)
		clear(w.seen)
	case "free": // as the labeler of a log that is lost had it
		l := w.stored[args[0]].Lease
		l.State = api.LeaseFree
		w.write(l)
		w.look()
	case "restart":
		w.restart()
	case "operator": // unfreeze
		delete(w.v.Frozen, events.FreezeSafety)
	case "run":
		return w.run(args)
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

// restart makes it another labeler, which knows nothing and sees every lease for the first time.
func (w *world) restart() {
	w.pulse, w.watch, w.seen = pulse{}, newWatch(), map[string]services.SeenLease{}
	w.pulse.disturbed(w.now)
	w.look()
}

func (w *world) write(l api.Lease) {
	rec := w.stored[l.Node]
	rec.Lease, rec.Seq = l, rec.Seq+1
	w.stored[l.Node] = rec
}

func (w *world) look() {
	for id, l := range w.stored {
		if old, ok := w.seen[id]; !ok || old.Seq < l.Seq {
			l.FirstSeen = w.now
			w.seen[id] = l
		}
	}
}

// run lets time pass. renew=a,b are the nodes that live; beats=off has every heartbeat fail and
// beats=hang has none answered; paused stops the labeler
// altogether; deaf has it see no renewal though its heartbeats are acknowledged.
func (w *world) run(args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	var renew []string
	for _, a := range args {
		if names, ok := strings.CutPrefix(a, "renew="); ok {
			renew = strings.Split(names, ",")
		}
	}
	for end := w.now + d; w.now < end; {
		w.now += time.Second
		for _, id := range renew {
			turn := time.Duration(id[0]-'a') * time.Second
			if l := w.stored[id].Lease; l.State == api.LeaseHeld && (w.now+turn)%(5*time.Second) == 0 {
				w.write(l)
			}
		}
		if slices.Contains(args, "paused") {
			continue
		}
		if w.deaf = slices.Contains(args, "deaf"); !w.deaf {
			w.look()
		}
		switch {
		case slices.Contains(args, "beats=off"):
			w.pulse.disturbed(w.now)
		case !slices.Contains(args, "beats=hang"):
			w.pulse.acked(w.now)
		}
		w.pass()
	}
	return nil
}

func (w *world) pass() {
	j := w.watch.judge(w.v, Sight{Pulse: w.pulse.get(), Now: w.now, Leases: w.seen})
	for _, d := range j.Verdicts {
		w.carryOut(d)
	}
}

func (w *world) carryOut(d Verdict) {
	note := func(format string, args ...any) {
		fmt.Fprintf(&w.out, "    %6s %s\n", w.now-time.Hour, fmt.Sprintf(format, args...))
	}
	write := func(state string) bool {
		if w.stored[d.Node].Seq != d.Lease.Seq {
			note("%s %s: too late, it was renewed", d.Act, d.Node)
			return false
		}
		l := d.Lease.Lease
		l.State = state
		w.write(l)
		return true
	}
	n := w.v.Nodes[d.Node]
	switch d.Act {
	case ActClose:
		if write(api.LeaseClosed) {
			note("close %s, silent for %s", d.Node, d.Waited)
			if d.Lease.Seq > 0 {
				w.watch.closings[d.Node] = Closing{Seq: w.stored[d.Node].Seq, Since: d.Lease.FirstSeen}
			}
		}
	case ActSuspect, ActUnseated:
		note("suspect %s", d.Node)
		n.Status = projections.StatusSuspected
	case ActDisplaced:
		note("lose %s of %s after %s, its lease is not its own", d.Lease.Lease.Inc, d.Node, d.Waited)
		n.Status = projections.StatusLost
	case ActLose, ActYielded, ActOvertaken:
		if n == nil {
			n = &projections.Node{ID: d.Node}
			w.v.Nodes[d.Node] = n
		}
		switch {
		case d.Act == ActLose:
			note("lose %s of %s after %s", d.Lease.Lease.Inc, d.Node, d.Waited)
		case d.Act == ActYielded:
			note("lose %s of %s, which yielded", d.Lease.Lease.Inc, d.Node)
		default:
			note("lose %s of %s, which has begun anew", n.Inc, d.Node)
		}
		if d.Act == ActOvertaken || n.Inc == d.Lease.Lease.Inc {
			n.Status = projections.StatusLost
		}
		if d.Act != ActOvertaken && n.Inc != d.Lease.Lease.Inc { // the loss of one that never joined is not in the fold
			write(api.LeaseFree)
			note("free %s", d.Node)
		}
	case ActFree:
		if write(api.LeaseFree) {
			note("free %s", d.Node)
		}
	case ActFreeze:
		note("freeze: %s", d.Why)
		w.v.Frozen[events.FreezeSafety] = d.Why
	case ActUnfreeze:
		note("unfreeze: %s", d.Why)
		delete(w.v.Frozen, events.FreezeSafety)
	}
	if !w.deaf {
		w.look()
	}
}
