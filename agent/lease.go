package agent

import (
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

// leaseDo is what an agent without a lease does about the lease of its node.
type leaseDo string

const (
	leaseWait   leaseDo = "wait"   // it is the labeler's turn
	leaseRenew  leaseDo = "renew"  // it is ours: write held with the same incarnation; what runs goes on
	leaseBegin  leaseDo = "begin"  // stop everything, then write held with a new incarnation
	leaseYield  leaseDo = "yield"  // stop everything, then write yielded with the closed incarnation
	leaseRefuse leaseDo = "refuse" // somebody else is this node
)

// leaseStep is a leaseDo with the incarnation to write.
type leaseStep struct {
	do  leaseDo
	inc string
	n   uint64
	why string // for people, of refuse and wait
}

// nextLeaseStep says what this agent does over the lease as it is stored. It writes held only over nothing, over free, and over
// what is the machine's own; over the machine's own of an earlier boot it may, because nothing runs any more from before.
func nextLeaseStep(me identity, l api.Lease, exists bool) leaseStep {
	begin := func(n uint64) leaseStep { return leaseStep{do: leaseBegin, inc: me.incarnation(n), n: n} }
	if !exists {
		return begin(1)
	}
	own := l.Machine == me.Machine
	switch l.State {
	case api.LeaseFree:
		return begin(l.N + 1)
	case api.LeaseHeld:
		switch {
		case own && l.Boot == me.Boot:
			return leaseStep{do: leaseRenew, inc: l.Inc, n: l.N}
		case own:
			return begin(l.N + 1)
		}
		host := ""
		if l.Host != "" {
			host = " on host " + l.Host
		}
		return leaseStep{do: leaseRefuse, why: fmt.Sprintf("node %s is held by another agent%s (machine %s, incarnation %s); this one is machine %s: "+
			"stop the other, or give this one a name of its own", me.Node, host, l.Machine, l.Inc, me.Machine)}
	case api.LeaseClosed:
		if own {
			return leaseStep{do: leaseYield, inc: l.Inc, n: l.N}
		}
		return leaseStep{do: leaseWait, why: "the lease of another machine's incarnation " + l.Inc + " was closed and runs out"}
	case api.LeaseYielded:
		return leaseStep{do: leaseWait, why: "incarnation " + l.Inc + " has yielded and is being ended"}
	}
	return leaseStep{do: leaseWait, why: fmt.Sprintf("the lease has the unknown state %q", l.State)}
}

// tenure is one incarnation's hold on its lease, as this agent knows it. Times are CLOCK_BOOTTIME.
type tenure struct {
	inc  string
	n    uint64
	seq  uint64        // of our last write that is known to be stored
	sent time.Duration // just before that write was sent
	// pending is when the first write was sent whose outcome is not known, and anyPending says that there is one. Which of several
	// was stored does not show; counting from the first is never too late.
	pending    time.Duration
	anyPending bool
}

// renewed notes that the write sent at sent is stored as seq.
func (t *tenure) renewed(seq uint64, sent time.Duration) {
	t.seq, t.sent, t.anyPending = seq, sent, false
}

// unknown notes that the write sent at sent may be stored.
func (t *tenure) unknown(sent time.Duration) {
	if !t.anyPending {
		t.pending, t.anyPending = sent, true
	}
}

// moved notes what is stored after a write was refused because the lease had moved. It returns false when it is not ours any more.
func (t *tenure) moved(l api.Lease, exists bool, seq uint64) bool {
	if !exists || l.State != api.LeaseHeld || l.Inc != t.inc {
		return false
	}
	if t.anyPending {
		t.sent, t.anyPending = t.pending, false
	}
	t.seq = seq
	return true
}

// deadline is until when the incarnation may act.
func (t *tenure) deadline(ttl, margin time.Duration) time.Duration { return t.sent + ttl - margin }
