//go:build linux

package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Carrier implements agent.Addresses on the network namespace of its callers.
type Carrier struct{}

// Facts says whether this process can carry addresses, and on which interfaces.
func Facts() events.VIPFacts {
	if why := unprivileged(); why != "" {
		return events.VIPFacts{Why: why}
	}
	names, err := interfaces()
	if err != nil {
		return events.VIPFacts{Why: err.Error()}
	}
	if len(names) == 0 {
		return events.VIPFacts{Why: "the machine has no Ethernet interface that is up"}
	}
	return events.VIPFacts{Interfaces: names}
}

// unprivileged names the capabilities that this process misses, "" for none.
func unprivileged() string {
	var data [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return fmt.Sprintf("capabilities of the agent: %v", err)
	}
	var missing []string
	for _, c := range []struct {
		bit  uint
		name string
	}{{unix.CAP_NET_ADMIN, "NET_ADMIN"}, {unix.CAP_NET_RAW, "NET_RAW"}} {
		if data[0].Effective&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "the agent has no capability " + strings.Join(missing, ", ")
}

// interfaces lists those that can carry an address: up, with a hardware address that neighbours can be told.
func interfaces() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("interfaces of this machine: %w", err)
	}
	var names []string
	for _, i := range all {
		if ethernetUp(i) {
			names = append(names, i.Name)
		}
	}
	return names, nil
}

func ethernetUp(i net.Interface) bool {
	return i.Flags&net.FlagUp != 0 && i.Flags&net.FlagBroadcast != 0 && len(i.HardwareAddr) == 6
}

// Check implements agent.Addresses.
func (Carrier) Check(v spec.VIP) error {
	if why := unprivileged(); why != "" {
		return errors.New(why)
	}
	_, _, err := resolve(v)
	return err
}

func resolve(v spec.VIP) (netip.Prefix, *net.Interface, error) {
	p, err := netip.ParsePrefix(v.Address)
	if err != nil {
		return p, nil, err
	}
	i, err := net.InterfaceByName(v.Interface)
	if err != nil {
		have := "none that can carry an address"
		if names, _ := interfaces(); len(names) > 0 {
			have = strings.Join(names, ", ")
		}
		return p, nil, fmt.Errorf("no interface %s here (has %s)", v.Interface, have)
	}
	if !ethernetUp(*i) {
		return p, nil, fmt.Errorf("interface %s is down or no Ethernet", v.Interface)
	}
	return p, i, nil
}

// Set implements agent.Addresses. The address is deprecated where that means something (IPv6), so that the machine itself does not
// speak from it, and brings no route.
func (Carrier) Set(v spec.VIP, seconds int) (added bool, err error) {
	p, i, err := resolve(v)
	if err != nil {
		return false, err
	}
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: i.Index, Name: i.Name}}
	there, err := found(link, p.Addr())
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(there, permanent) {
		return false, fmt.Errorf("%s has it for good: it is the machine's own", i.Name)
	}
	a := address(p)
	a.ValidLft, a.Flags = seconds, unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE
	if p.Addr().Is4() {
		a.PreferedLft = seconds
	}
	if err := netlink.AddrReplace(link, a); err != nil {
		return false, fmt.Errorf("put on %s for %d s: %w", i.Name, seconds, err)
	}
	return len(there) == 0, nil
}

func address(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}

// found lists what a link has of an address, or every link where it is nil.
func found(link netlink.Link, ip netip.Addr) ([]netlink.Addr, error) {
	family := netlink.FAMILY_V6
	if ip.Is4() {
		family = netlink.FAMILY_V4
	}
	all, err := netlink.AddrList(link, family)
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	return slices.DeleteFunc(all, func(a netlink.Addr) bool {
		at, ok := netip.AddrFromSlice(a.IP)
		return !ok || at.Unmap() != ip
	}), nil
}

// permanent says that an address has no lifetime: it is none of ours.
func permanent(a netlink.Addr) bool { return a.Flags&unix.IFA_F_PERMANENT != 0 }

// Own implements agent.Addresses.
func (Carrier) Own(v spec.VIP) (string, error) {
	p, err := netip.ParsePrefix(v.Address)
	if err != nil {
		return "", err
	}
	there, err := found(nil, p.Addr())
	if err != nil || len(there) == 0 {
		return "", err
	}
	link, err := netlink.LinkByIndex(there[0].LinkIndex)
	if err != nil {
		return "", fmt.Errorf("interface with address %s: %w", p.Addr(), err)
	}
	return link.Attrs().Name, nil
}

// Remove implements agent.Addresses.
func (Carrier) Remove(v spec.VIP) error {
	p, err := netip.ParsePrefix(v.Address)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(v.Interface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", v.Interface, err)
	}
	there, err := found(link, p.Addr())
	if err != nil || slices.ContainsFunc(there, permanent) {
		return err
	}
	if err := netlink.AddrDel(link, address(p)); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
		return err
	}
	return nil
}
