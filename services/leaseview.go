package services

import (
	"slices"
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
	readers []*SightReader
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
	for _, r := range v.readers {
		r.unread[u.Node] = struct{}{}
	}
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
		out[k] = l.sight()
	}
	return out
}

// sight is what a node says with its lease that a plan goes by.
func (l *SeenLease) sight() api.Sight {
	s := api.Sight{Load: l.Lease.Load}
	for _, in := range l.Lease.Instances {
		if in.Data != nil {
			if s.Data == nil {
				s.Data = map[string]api.DataHealth{}
			}
			s.Data[in.App] = *in.Data
		}
	}
	return s
}

// SightReader is told each time what is new of what nodes say, until it is closed.
type SightReader struct {
	view   *LeaseView
	unread map[string]struct{} // nodes; the view's
}

// ReadSights returns a reader to which everything is new.
func (v *LeaseView) ReadSights() *SightReader {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := &SightReader{view: v, unread: make(map[string]struct{}, len(v.leases))}
	for node := range v.leases {
		r.unread[node] = struct{}{}
	}
	v.readers = append(v.readers, r)
	return r
}

// Each calls f with each node that has said something since the last time. f may not ask the view.
func (r *SightReader) Each(f func(node string, s api.Sight)) {
	r.view.mu.Lock()
	defer r.view.mu.Unlock()
	for node := range r.unread {
		l := r.view.leases[node]
		f(node, l.sight())
	}
	clear(r.unread)
}

// Close has nothing kept for the reader any more.
func (r *SightReader) Close() {
	r.view.mu.Lock()
	defer r.view.mu.Unlock()
	r.view.readers = slices.DeleteFunc(r.view.readers, func(o *SightReader) bool { return o == r })
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
