package agent

import (
	"errors"

	"github.com/go-cluster/go-cluster/spec"
)

// Addresses carries addresses that follow actives (VIPs) on this machine's interfaces. The kernel takes each off by itself at the
// end of its lifetime, so that none outlives an agent that cannot. All methods are safe for concurrent use.
type Addresses interface {
	// Check says why the address cannot be carried here: no such interface, no privilege.
	Check(v spec.VIP) error
	// Probe asks the network who has the address and returns the hardware address that answers, "" when none does. It takes a
	// fraction of a second. What this machine has itself does not answer.
	Probe(v spec.VIP) (answers string, err error)
	// Own names the interface on which this machine has the address, whoever has put it there, "" for none.
	Own(v spec.VIP) (iface string, err error)
	// Set puts the address on, or changes the lifetime of one that is on; added says that it was not. The lifetime is in whole
	// seconds, at least one. One that is on for good is the machine's own, and is refused.
	Set(v spec.VIP, seconds int) (added bool, err error)
	// Announce tells the network once that the address is here.
	Announce(v spec.VIP) error
	// Remove takes the address off. It is a no-op for one that is not on, also because its interface is gone, and for one that is on for
	// good, which Set has not put there.
	Remove(v spec.VIP) error
}

// NoAddresses is what an agent has that carries none; its text says why, for people.
type NoAddresses string

// Check implements Addresses.
func (n NoAddresses) Check(spec.VIP) error { return errors.New(string(n)) }

// Probe implements Addresses.
func (n NoAddresses) Probe(v spec.VIP) (string, error) { return "", n.Check(v) }

// Own implements Addresses.
func (n NoAddresses) Own(v spec.VIP) (string, error) { return "", n.Check(v) }

// Set implements Addresses.
func (n NoAddresses) Set(v spec.VIP, _ int) (bool, error) { return false, n.Check(v) }

// Announce implements Addresses.
func (n NoAddresses) Announce(v spec.VIP) error { return n.Check(v) }

// Remove implements Addresses.
func (n NoAddresses) Remove(spec.VIP) error { return nil }
