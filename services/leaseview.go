package services

import (
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport"
)

// SeenLease is a lease and when this process first saw that very write, on its own CLOCK_BOOTTIME.
type SeenLease struct {
	transport.LeaseRecord
	FirstSeen time.Duration
}

// LeaseView is the newest lease of every node as this process has seen it, and the clock of the cluster. It is safe for
// concurrent use.
type LeaseView struct {
	boot func() time.Duration

	mu      sync.Mutex
	leases  map[string]SeenLease
	clock   transport.Clock
	changed chan struct{}
}

func newLeaseView(boot func() time.Duration) *LeaseView {
	return &LeaseView{boot: boot, leases: map[string]SeenLease{}, changed: make(chan struct{})}
}

func (v *LeaseView) observe(u transport.LeaseUpdate) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if u.Beat != nil {
		v.clock.Observe(u.Beat.Stored, v.boot())
		return
	}
	if old, ok := v.leases[u.Node]; ok && old.Seq >= u.Record.Seq {
		return // delivered again after a lost subscription: when it was first seen stays
	}
	v.leases[u.Node] = SeenLease{LeaseRecord: u.Record, FirstSeen: v.boot()}
	close(v.changed)
	v.changed = make(chan struct{})
}

// Lease returns the newest lease seen of a node.
func (v *LeaseView) Lease(node string) (SeenLease, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.leases[node]
	return l, ok
}

// All returns the newest lease of every node.
func (v *LeaseView) All() map[string]SeenLease {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[string]SeenLease, len(v.leases))
	for k, l := range v.leases {
		out[k] = l
	}
	return out
}

// Loads returns how busy each node says it is.
func (v *LeaseView) Loads() map[string]api.Load {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[string]api.Load, len(v.leases))
	for k, l := range v.leases {
		out[k] = l.Lease.Load
	}
	return out
}

// AddData adds to an instance how far its data are, which its node says with its lease.
func (v *LeaseView) AddData(in *api.InstanceView) {
	l, ok := v.Lease(in.Node)
	if !ok {
		return
	}
	for _, h := range l.Lease.Instances {
		if h.App == in.App && (h.ID == in.ID || in.Role == api.RoleStandby) { // on its node a standby has the name of what it stands by
			in.Data = h.Data
		}
	}
}

// Sights returns what each node says that a plan goes by.
func (v *LeaseView) Sights() map[string]api.Sight {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[string]api.Sight, len(v.leases))
	for k, l := range v.leases {
		s := api.Sight{Load: l.Lease.Load}
		for _, in := range l.Lease.Instances {
			if in.Data != nil {
				if s.Data == nil {
					s.Data = map[string]api.DataHealth{}
				}
				s.Data[in.App] = *in.Data
			}
		}
		out[k] = s
	}
	return out
}

// Changed returns a channel that is closed at the next new lease.
func (v *LeaseView) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// Now returns the time of the cluster; sure is false while no heartbeat came for so long that nothing timed may be decided.
func (v *LeaseView) Now() (now time.Time, sure bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.clock.Now(v.boot())
}
