package labeler

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
)

const (
	ackFresh  = 2 * time.Second        // silence counts only while the newest acknowledged heartbeat is younger
	epsilon   = 500 * time.Millisecond // on top of the takeover wait
	ttlUnsaid = 30 * time.Second       // of a lease that does not say its own
)

// Act is what a verdict asks for.
type Act string

// The acts. Each is one write; the next pass finds what follows from it.
const (
	ActClose     Act = "close"     // write closed over held
	ActSuspect   Act = "suspect"   // a lease is closed: tell the log
	ActLose      Act = "lose"      // a closed lease was waited out: tell the log
	ActYielded   Act = "yielded"   // the node has stopped everything: tell the log at once
	ActFree      Act = "free"      // the loss is in the log: the node may be taken again
	ActOvertaken Act = "overtaken" // the same machine holds the lease anew: the incarnation before is over
	ActUnseated  Act = "unseated"  // the lease of a living incarnation is not its own: tell the log
	ActDisplaced Act = "displaced" // and that incarnation was waited out: tell the log
	ActFreeze    Act = "freeze"    // too many are silent at once
	ActUnfreeze  Act = "unfreeze"  // that is over
)

// Verdict is one act on one node; Node is empty for the freeze.
type Verdict struct {
	Act    Act
	Node   string
	Lease  services.SeenLease // with the displaced incarnation in it where one is judged
	Waited time.Duration      // silence, or the time waited out
	Why    string
}

// Pulse is what this labeler knows of its own reach: all times are CLOCK_BOOTTIME.
type Pulse struct {
	Beating bool          // a heartbeat has been acknowledged
	Acked   time.Duration // when the newest acknowledged heartbeat was sent
	Since   time.Duration // silence counts from here at the earliest: start, reconnect, or a heartbeat that failed
}

// Closing is a lease that this labeler has closed, and when it had first seen the renewal underneath.
type Closing struct {
	Seq   uint64
	Since time.Duration
}

// Sight is everything that Judge looks at besides the fold.
type Sight struct {
	Pulse
	Now      time.Duration
	Leases   map[string]services.SeenLease
	Closings map[string]Closing
	// Displaced has the living incarnations whose lease is not their own any more.
	Displaced map[string]Displacement
	Lifted    bool          // somebody else has lifted the freeze of the present episode
	Calm      time.Duration // when a mass silence ended: who is still silent gets a full TTL from here to come back too
}

// Judgement is what is to be done, when to look again on CLOCK_BOOTTIME (0: no time matters), and whether more than half of the
// nodes are silent together.
type Judgement struct {
	Verdicts []Verdict
	Due      time.Duration
	Mass     bool
}

// Judge says who is silent, who is over and who may be taken again. A lease is overdue when no write of it was seen for its TTL.
// While more than half of the nodes are silent together none is closed: then it is rather the labeler, or the network, that is
// gone. Nodes cut off at one moment are overdue one after the other, as their renewals were, so from half a TTL on a node counts
// as silent with the first that is overdue, and one whose lease is closed counts until it is lost. The last node is never closed.
func Judge(v *projections.Cluster, s Sight) Judgement {
	j := judge{v: v, s: s}
	names := slices.Collect(maps.Keys(s.Leases))
	for id, n := range v.Nodes {
		if _, has := s.Leases[id]; !has && live(n) {
			names = append(names, id)
		}
	}
	slices.Sort(names)
	for _, id := range names {
		if _, bad := v.Quarantined[events.Node(id)]; !bad { // nothing can be appended to it, and what is folded of it is not to be trusted
			j.look(id)
		}
	}
	j.settle()
	return j.Judgement
}

func live(n *projections.Node) bool {
	return n != nil && (n.Status == projections.StatusReady || n.Status == projections.StatusSuspected)
}

type judge struct {
	Judgement
	v       *projections.Cluster
	s       Sight
	total   int // nodes that are ready or suspected
	silent  int // of those
	overdue []Verdict
	longest time.Duration // TTL
}

func (j *judge) look(id string) {
	n, l := j.v.Nodes[id], j.lease(id)
	if live(n) {
		j.total++
		j.longest = max(j.longest, l.Lease.TTL.D())
	}
	if live(n) && n.Inc != l.Lease.Inc && n.Machine == l.Lease.Machine && l.Lease.State != api.LeaseFree {
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActOvertaken, Node: id, Lease: l})
	}
	if displaced(n, l.Lease) {
		j.displaced(n, l)
	}
	switch l.Lease.State {
	case api.LeaseHeld:
		j.held(n, l)
	case api.LeaseClosed:
		j.closed(n, l)
	case api.LeaseYielded:
		act := ActYielded
		if over(n, l.Lease.Inc) {
			act = ActFree
		}
		j.Verdicts = append(j.Verdicts, Verdict{Act: act, Node: id, Lease: l})
	}
}

// lease returns what was seen, or for a live node without any lease what it is taken to be: held, and never renewed.
func (j *judge) lease(id string) services.SeenLease {
	l, ok := j.s.Leases[id]
	if !ok {
		n := j.v.Nodes[id]
		l.Lease = api.Lease{State: api.LeaseHeld, Node: id, Inc: n.Inc, Machine: n.Machine}
		l.Lease.TTL = ttlOf(n)
	}
	if l.Lease.TTL <= 0 {
		l.Lease.TTL = ttlOf(j.v.Nodes[id])
	}
	return l
}

func (j *judge) held(n *projections.Node, l services.SeenLease) {
	ttl := l.Lease.TTL.D()
	since := max(l.FirstSeen, j.s.Since, j.s.Calm)
	quiet := j.s.Now - since
	if live(n) && (quiet > ttl/2 || n.Status == projections.StatusSuspected && n.Inc == l.Lease.Inc) {
		j.silent++
	}
	if quiet > ttl {
		j.overdue = append(j.overdue, Verdict{Act: ActClose, Node: l.Lease.Node, Lease: l, Waited: quiet})
		return
	}
	j.due(since + ttl)
}

func (j *judge) closed(n *projections.Node, l services.SeenLease) {
	if live(n) {
		j.silent++
	}
	switch {
	case over(n, l.Lease.Inc):
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActFree, Node: l.Lease.Node, Lease: l})
		return
	case n != nil && n.Inc == l.Lease.Inc && n.Status == projections.StatusReady:
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActSuspect, Node: l.Lease.Node, Lease: l, Waited: j.s.Now - j.waitingSince(l)})
	}
	since := j.waitingSince(l)
	if due := since + takeoverWait(l.Lease.TTL.D()); j.s.Now > due {
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActLose, Node: l.Lease.Node, Lease: l, Waited: j.s.Now - since})
	} else {
		j.due(due)
	}
}

// waitingSince is when this labeler first saw the renewal that was closed over; one that did not see it waits from the closing.
func (j *judge) waitingSince(l services.SeenLease) time.Duration {
	if c, ok := j.s.Closings[l.Lease.Node]; ok && c.Seq == l.Seq {
		return c.Since
	}
	return l.FirstSeen
}

// takeoverWait covers a clock that runs 10 % slow on the node.
func takeoverWait(ttl time.Duration) time.Duration {
	if planted.NoWait {
		return 0
	}
	return ttl + ttl/10 + epsilon
}

// over says whether the log has the end of an incarnation: also of one that never joined, or that another one has followed, which a view of the
// leases that is behind the fold still shows.
func over(n *projections.Node, inc string) bool {
	return n != nil && (n.Over == inc || n.Inc == inc && (n.Status == projections.StatusLost || n.Status == projections.StatusLeft))
}

// settle judges the silent ones together.
func (j *judge) settle() {
	if !j.s.Beating || j.s.Now-j.s.Acked >= ackFresh {
		j.due(j.s.Now + time.Second) // cut off itself: it can tell neither silence nor its end
		return
	}
	j.Mass = 2*j.silent > j.total
	why, frozen := j.v.Frozen[events.FreezeSafety]
	known := j.s.Now - j.s.Since
	switch {
	case j.Mass && len(j.overdue) > 0 && !frozen && !j.s.Lifted:
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActFreeze, Why: fmt.Sprintf("%d of %d nodes are silent together", j.silent, j.total)})
	case frozen && !j.Mass && known <= j.longest:
		j.due(j.s.Since + j.longest) // who is silent shows only after a TTL
	case frozen && !j.Mass:
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActUnfreeze, Why: fmt.Sprintf("%d of %d nodes are silent, it was: %s", j.silent, j.total, why)})
	}
	for _, o := range j.overdue {
		n := j.v.Nodes[o.Node]
		if j.Mass && !j.s.Lifted || live(n) && j.total < 2 {
			continue
		}
		j.Verdicts = append(j.Verdicts, o)
	}
}

func (j *judge) due(at time.Duration) {
	if j.Due == 0 || at < j.Due {
		j.Due = at
	}
}
