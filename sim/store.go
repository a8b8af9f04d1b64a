package sim

import (
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// Store is the object store that simulated databases are shipped to, and the disks that they are on. It outlives everything, and
// knows every write that was ever acknowledged. It is safe for concurrent use.
type Store struct {
	boot func() time.Duration

	mu    sync.Mutex
	disks map[string]map[string]*database // by node and instance
	apps  map[string]*archive
}

// archive is what was ever shipped and acknowledged of one app.
type archive struct {
	shipped map[uint64][]shipment // by epoch; the first is at position 1
	acked   []row                 // what a client may count on: the data of the newest life
	from    *database             // that the newest life writes to
	log     records               // of an app whose data are a log
}

// shipment is a state of a database in the store.
type shipment struct {
	rows   []row
	stored time.Time
}

func newStore(boot func() time.Duration) *Store {
	return &Store{boot: boot, disks: map[string]map[string]*database{}, apps: map[string]*archive{}}
}

// app returns the archive of an app; the caller holds the lock.
func (s *Store) app(name string) *archive {
	if s.apps[name] == nil {
		s.apps[name] = &archive{shipped: map[uint64][]shipment{}}
	}
	return s.apps[name]
}

// on returns an instance's database on a node's disk; the caller holds the lock.
func (s *Store) on(node, instance string) *database {
	if s.disks[node] == nil {
		s.disks[node] = map[string]*database{}
	}
	if s.disks[node][instance] == nil {
		s.disks[node][instance] = &database{life: -1}
	}
	return s.disks[node][instance]
}

// begin has clients write to an instance that has become active, and returns how many writes that were acknowledged before it does
// not have. They are gone: from now on only what it has is counted on.
func (s *Store) begin(node, app, instance string, life int) (lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, a, now := s.on(node, instance), s.app(app), s.boot()
	if a.from != nil {
		a.acked = a.from.content(now)
	}
	lost = missing(a.acked, d.rows)
	a.acked, a.from = d.content(now), d
	d.life, d.since, d.wrote = life, now, 0
	return lost
}

// end ends the writes to an instance.
func (s *Store) end(node, app, instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, a := s.on(node, instance), s.app(app)
	if d.end(s.boot()); a.from == d {
		a.acked, a.from = d.content(s.boot()), nil
	}
}

// acked returns how many acknowledged writes the newest life of an app began with and has seen since.
func (s *Store) acked(app string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.app(app)
	if n := len(a.log.rows); n > 0 {
		return len(a.log.written(uint64(n)))
	}
	if a.from != nil {
		return len(a.from.content(s.boot()))
	}
	return len(a.acked)
}

// wipe takes the data of an instance from a node's disk, all of them where none is named.
func (s *Store) wipe(node, instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if instance == "" {
		delete(s.disks, node)
		return
	}
	delete(s.disks[node], instance)
}

// ship stores what an instance has now, when that is more than was stored, and returns where its epoch is then. The caller holds
// the lock.
func (s *Store) ship(d *database, app string, epoch uint64) events.Position {
	all := s.app(app).shipped
	rows, had := d.content(s.boot()), all[epoch]
	if len(had) == 0 && len(rows) > 0 || len(had) > 0 && len(had[len(had)-1].rows) != len(rows) {
		all[epoch] = append(had, shipment{rows, time.Now()})
	}
	return events.Position{Epoch: epoch, Seq: uint64(len(all[epoch]))}
}

// shippedAt returns the rows at a position, false when the store has not got there.
func (s *Store) shippedAt(app string, p events.Position) ([]row, bool) {
	all := s.app(app).shipped[p.Epoch]
	switch {
	case p.Seq == 0:
		return nil, true
	case p.Seq > uint64(len(all)):
		return nil, false
	}
	return all[p.Seq-1].rows, true
}
