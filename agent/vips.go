package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

const (
	vipRefresh   = 250 * time.Millisecond // lifetimes are whole seconds: a finer step keeps them close to what they may be
	vipAgain     = 500 * time.Millisecond // before an address that somebody has is asked for again
	vipAnnounces = 5                      // a neighbour may miss one
	vipApart     = 400 * time.Millisecond // between announcements
)

// vips is a driver whose actives have their address while they are active: it is on before the program starts and off before it is
// asked to end. An address is on no longer than the lease allows, whoever is there to take it off. It is safe for concurrent use.
type vips struct {
	Driver
	addresses Addresses
	boot      func() time.Duration
	ttl       time.Duration
	margin    time.Duration // a lifetime ends that long before the deadline: the kernel may be up to a second late
	path      string
	log       *zap.Logger

	mu    sync.Mutex // held while an address is put on, changed or taken off
	limit time.Duration
	held  map[string]heldVIP // by instance; on disk before the address is on
	fails map[string]string  // by instance: why its lifetime could not be extended, as it was told last
	ctx   context.Context    // ends with the agent; set before anything is started
}

type heldVIP struct {
	App   string   `json:"app"`
	Epoch uint64   `json:"epoch"`
	VIP   spec.VIP `json:"vip"`
}

// demotingVIPs is vips over a driver whose actives can step down.
type demotingVIPs struct{ *vips }

// Demote implements Demoter.
func (d demotingVIPs) Demote(ctx context.Context, id string) (Status, error) {
	if err := d.drop(id); err != nil {
		return Status{}, err
	}
	return d.Driver.(Demoter).Demote(ctx, id)
}

func newVIPs(cfg Config) (*vips, Driver, error) {
	v := &vips{Driver: cfg.Driver, addresses: cfg.Addresses, boot: cfg.Clock.Boot, ttl: cfg.TTL, margin: cfg.Margin,
		path: filepath.Join(cfg.Dir, "vips.json"), log: cfg.Log, held: map[string]heldVIP{}, fails: map[string]string{}, ctx: context.Background()}
	if err := loadJSON(v.path, &v.held); err != nil {
		return nil, nil, fmt.Errorf("addresses that an earlier agent put on: %w", err)
	}
	if _, can := cfg.Driver.(Demoter); can {
		return v, demotingVIPs{v}, nil
	}
	return v, v, nil
}

// run keeps lifetimes as long as they may be, until the agent ends.
func (d *vips) run() {
	tick := time.NewTicker(vipRefresh)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
			d.refresh()
		}
	}
}

// wrapped returns the driver that does the work.
func (d *vips) wrapped() Driver { return d.Driver }

// able returns the driver as something that not every one can do.
func able[T any](d Driver) (T, bool) {
	if t, ok := d.(T); ok {
		return t, true
	}
	if over, ok := d.(interface{ wrapped() Driver }); ok {
		return able[T](over.wrapped())
	}
	var none T
	return none, false
}

// Adopt implements Driver. Of the addresses that an earlier agent put on those stay whose instance runs on; whether the node still
// has the right to them shows when its lease is renewed, and until then nobody prolongs them.
func (d *vips) Adopt(ctx context.Context) ([]Status, error) {
	all, err := d.Driver.Adopt(ctx)
	for _, id := range d.ids() {
		h := d.held[id]
		if slices.ContainsFunc(all, func(s Status) bool {
			return s.ID == id && lives(s.State) && s.Role == api.RoleActive && s.Epoch == h.Epoch
		}) {
			continue
		}
		d.log.Info("address of an earlier agent removed", zap.String("instance", id), zap.String("vip", h.VIP.Address), zap.String("interface", h.VIP.Interface))
		err = errors.Join(err, d.drop(id))
	}
	return all, err
}

// Start implements Driver.
func (d *vips) Start(ctx context.Context, in Instance) (Status, error) {
	if in.App.VIP == nil || in.Role != api.RoleActive {
		if err := d.drop(in.ID); err != nil {
			return Status{}, err
		}
		return d.Driver.Start(ctx, in)
	}
	if err := d.take(ctx, in); err != nil {
		return Status{}, err
	}
	st, err := d.Driver.Start(ctx, in)
	if err != nil {
		err = errors.Join(err, d.drop(in.ID))
	}
	return st, err
}

// Stop implements Driver.
func (d *vips) Stop(ctx context.Context, id string) (Status, error) {
	if err := d.drop(id); err != nil {
		return Status{}, err
	}
	return d.Driver.Stop(ctx, id)
}

// Kill implements Driver.
func (d *vips) Kill(id string) error {
	return errors.Join(d.drop(id), d.Driver.Kill(id))
}

// Remove implements Driver.
func (d *vips) Remove(id string, deleteData bool) error {
	if err := d.drop(id); err != nil {
		return err
	}
	return d.Driver.Remove(id, deleteData)
}

// Extend implements Driver.
func (d *vips) Extend(deadline time.Duration) {
	d.Driver.Extend(deadline)
	d.mu.Lock()
	d.limit = deadline - d.margin
	d.mu.Unlock()
	d.refresh()
}

// free says why an instance that is about to come here could not have its address: it cannot be carried here, or somebody has it
// who is not the instance itself, which has before. What the machine has and the instance does not is the machine's own.
func (d *vips) free(id string, v, before *spec.VIP) error {
	if v == nil {
		return nil
	}
	if err := d.addresses.Check(*v); err != nil {
		return &stepError{codeVIP, fmt.Sprintf("address %s: %v", v.Address, err)}
	}
	d.mu.Lock()
	have, on := d.held[id]
	d.mu.Unlock()
	if on && sameIP(have.VIP, *v) {
		return nil
	}
	ask := d.inUse
	if before != nil && sameIP(*before, *v) {
		ask = d.own
	}
	switch who, err := ask(*v); {
	case err != nil:
		return &stepError{codeVIP, fmt.Sprintf("address %s: %v", v.Address, err)}
	case who != "":
		return conflict(*v, who)
	}
	return nil
}

// alone says that somebody else has the address that an instance has, which whoever is to have it next would find out when nobody serves any
// more. Where that cannot be asked nothing is said: leaving may be the cure.
func (d *vips) alone(id string) error {
	d.mu.Lock()
	h, on := d.held[id]
	d.mu.Unlock()
	if !on {
		return nil
	}
	who, err := d.addresses.Probe(h.VIP)
	if err != nil {
		d.log.Warn("not known whether somebody else has the address", zap.String("instance", id), zap.String("vip", h.VIP.Address), zap.Error(err))
	}
	if who == "" {
		return nil
	}
	return conflict(h.VIP, who+" answers for it, too")
}

func sameIP(a, b spec.VIP) bool {
	x, errX := netip.ParsePrefix(a.Address)
	y, errY := netip.ParsePrefix(b.Address)
	return errX == nil && errY == nil && x.Addr() == y.Addr()
}

// inUse says who has an address, "" for nobody.
func (d *vips) inUse(v spec.VIP) (string, error) {
	if who, err := d.own(v); who != "" || err != nil {
		return who, err
	}
	who, err := d.addresses.Probe(v)
	if who != "" {
		who += " answers for it"
	}
	return who, err
}

// own says that the machine has an address itself: it does not answer its own question.
func (d *vips) own(v spec.VIP) (string, error) {
	iface, err := d.addresses.Own(v)
	if iface == "" || err != nil {
		return "", err
	}
	return "this machine has it itself on " + iface, nil
}

func conflict(v spec.VIP, who string) error {
	return &stepError{codeVIPConflict, fmt.Sprintf("address %s on %s is in use: %s", v.Address, v.Interface, who)}
}

// take puts the address on once nobody has it. Whoever had it by right may have it until its lifetime ends, which is within
// a TTL; who has it longer has no right to it.
func (d *vips) take(ctx context.Context, in Instance) error {
	v := *in.App.VIP
	want := heldVIP{App: in.App.Name, Epoch: in.Epoch, VIP: v}
	d.mu.Lock()
	have, on := d.held[in.ID]
	d.mu.Unlock()
	if on && have == want {
		return nil
	}
	if err := d.drop(in.ID); err != nil {
		return err
	}
	if err := d.addresses.Check(v); err != nil {
		return &stepError{codeVIP, fmt.Sprintf("address %s: %v", v.Address, err)}
	}
	for begun, said := d.boot(), false; ; {
		who, err := d.inUse(v)
		if err != nil {
			return &stepError{codeVIP, fmt.Sprintf("address %s: %v", v.Address, err)}
		}
		if who == "" {
			break
		}
		if !said {
			d.log.Warn("vip_conflict: somebody has the address, asking again until the lease of whoever had it would be over",
				zap.String("instance", in.ID), zap.String("vip", v.Address), zap.String("interface", v.Interface), zap.String("who", who))
			said = true
		}
		if d.boot()-begun > d.ttl {
			return conflict(v, who)
		}
		if !sleep(ctx, vipAgain) {
			return context.Cause(ctx)
		}
	}
	for {
		set, err := d.put(ctx, in.ID, want)
		if err != nil {
			return err
		}
		if set {
			break
		}
		if !sleep(ctx, vipRefresh) { // the lease is about to be renewed
			return context.Cause(ctx)
		}
	}
	d.log.Info("address added", zap.String("instance", in.ID), zap.String("vip", v.Address), zap.String("interface", v.Interface), zap.Uint64("epoch", in.Epoch))
	d.announce(in.ID, v)
	return nil
}

// put puts the address on; false says that the lease leaves less than a second. A kill that comes first ends ctx.
func (d *vips) put(ctx context.Context, id string, want heldVIP) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	left := int((d.limit - d.boot()) / time.Second)
	if left < 1 {
		return false, nil
	}
	d.held[id] = want
	if err := saveJSON(d.path, d.held); err != nil { // first: a later agent takes it off
		delete(d.held, id)
		return false, fmt.Errorf("address %s: %w", want.VIP.Address, err)
	}
	_, on, err := d.set(want.VIP)
	if err != nil || !on { // to write it down has taken the rest of the lease
		delete(d.held, id)
	}
	if err != nil {
		return false, &stepError{codeVIP, fmt.Sprintf("address %s: %v", want.VIP.Address, err)}
	}
	return on, nil
}

// set puts an address on for as long as it may be on; it is not on where that is less than a second. d.mu is held.
func (d *vips) set(v spec.VIP) (added, on bool, err error) {
	left := int((d.limit - d.boot()) / time.Second)
	if left < 1 {
		return false, false, nil // the kernel takes it off, or the fence does
	}
	if added, err = d.addresses.Set(v, left); err != nil {
		return false, false, err
	}
	if d.boot() >= d.limit { // stopped between the look at the clock and the call: its lifetime began too late
		return false, false, errors.Join(errNoMandate, d.addresses.Remove(v))
	}
	return added, true, nil
}

func (d *vips) refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, h := range d.held {
		added, _, err := d.set(h.VIP)
		if err == nil {
			delete(d.fails, id)
		}
		switch {
		case err != nil && d.fails[id] == err.Error(): // it is tried four times a second
		case err != nil:
			d.fails[id] = err.Error()
			d.log.Error("lifetime of an address not extended", zap.String("instance", id), zap.String("vip", h.VIP.Address), zap.Error(err))
		case added:
			d.log.Warn("address was gone and is added again", zap.String("instance", id), zap.String("vip", h.VIP.Address))
			d.announce(id, h.VIP)
		}
	}
}

// announce tells the neighbours where the address is now, several times and without holding anybody up.
func (d *vips) announce(id string, v spec.VIP) {
	go func() {
		for i := range vipAnnounces {
			if i > 0 && !sleep(d.ctx, vipApart) {
				return
			}
			d.mu.Lock()
			err := error(nil)
			on := d.held[id].VIP == v
			if on {
				err = d.addresses.Announce(v)
			}
			d.mu.Unlock()
			switch {
			case !on:
				return
			case err != nil:
				d.log.Warn("address not announced", zap.String("instance", id), zap.String("vip", v.Address), zap.Error(err))
			}
		}
	}()
}

// drop takes the address of an instance off, if it has one.
func (d *vips) drop(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, on := d.held[id]
	if !on {
		return nil
	}
	if err := d.addresses.Remove(h.VIP); err != nil {
		return fmt.Errorf("remove address %s from %s: %w", h.VIP.Address, h.VIP.Interface, err)
	}
	delete(d.held, id)
	delete(d.fails, id)
	d.log.Info("address removed", zap.String("instance", id), zap.String("vip", h.VIP.Address), zap.String("interface", h.VIP.Interface))
	if err := saveJSON(d.path, d.held); err != nil { // it is off: whoever reads this takes it off once more
		d.log.Warn("removed address still on the list", zap.String("vip", h.VIP.Address), zap.Error(err))
	}
	return nil
}

func (d *vips) ids() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.held))
}
