//go:build linux

package vip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"

	"github.com/go-cluster/go-cluster/spec"
)

// How often the network is asked who has an address, and how long each time: a neighbour on a local network answers in well under
// a millisecond, and who misses one question hears the next.
const (
	probes    = 3
	probeWait = 60 * time.Millisecond
)

// Probe implements agent.Addresses.
func (Carrier) Probe(v spec.VIP) (string, error) {
	p, i, err := resolve(v)
	if err != nil {
		return "", err
	}
	if p.Addr().Is4() {
		return probeARP(i, p.Addr())
	}
	return probeNDP(i, p.Addr())
}

// Announce implements agent.Addresses.
func (Carrier) Announce(v spec.VIP) error {
	p, i, err := resolve(v)
	if err != nil {
		return err
	}
	if p.Addr().Is4() {
		return announceARP(i, p.Addr())
	}
	return announceNDP(i, p.Addr())
}

func listenARP(i *net.Interface) (*packet.Conn, error) {
	c, err := packet.Listen(i, packet.Raw, int(ethernet.EtherTypeARP), nil)
	if err != nil {
		return nil, fmt.Errorf("ARP on %s: %w", i.Name, err)
	}
	return c, nil
}

func sendARP(c *packet.Conn, i *net.Interface, op arp.Operation, sender netip.Addr, hw net.HardwareAddr, target netip.Addr) error {
	p, err := arp.NewPacket(op, i.HardwareAddr, sender, hw, target)
	if err != nil {
		return err
	}
	payload, err := p.MarshalBinary()
	if err != nil {
		return err
	}
	frame, err := (&ethernet.Frame{Destination: ethernet.Broadcast, Source: i.HardwareAddr, EtherType: ethernet.EtherTypeARP, Payload: payload}).MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(frame, &packet.Addr{HardwareAddr: ethernet.Broadcast}); err != nil {
		return fmt.Errorf("ARP on %s: %w", i.Name, err)
	}
	return nil
}

// probeARP asks as one who has no address yet, which changes nobody's cache.
func probeARP(i *net.Interface, ip netip.Addr) (string, error) {
	c, err := listenARP(i)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 1500)
	for range probes {
		if err := sendARP(c, i, arp.OperationRequest, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), ip); err != nil {
			return "", err
		}
		if err := c.SetReadDeadline(time.Now().Add(probeWait)); err != nil {
			return "", err
		}
		for {
			n, _, err := c.ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return "", fmt.Errorf("ARP on %s: %w", i.Name, err)
			}
			var f ethernet.Frame
			var p arp.Packet
			if f.UnmarshalBinary(buf[:n]) != nil || p.UnmarshalBinary(f.Payload) != nil {
				continue
			}
			if p.SenderIP == ip && !ours(p.SenderHardwareAddr) {
				return p.SenderHardwareAddr.String(), nil
			}
		}
	}
	return "", nil
}

// ours says that a hardware address is of this machine: where two of its interfaces are on one network, each answers for what the other has.
func ours(hw net.HardwareAddr) bool {
	all, _ := net.Interfaces()
	return slices.ContainsFunc(all, func(i net.Interface) bool { return bytes.Equal(i.HardwareAddr, hw) })
}

// announceARP sends both forms that there are: some neighbours heed one only.
func announceARP(i *net.Interface, ip netip.Addr) error {
	c, err := listenARP(i)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return errors.Join(
		sendARP(c, i, arp.OperationRequest, ip, make(net.HardwareAddr, 6), ip),
		sendARP(c, i, arp.OperationReply, ip, ethernet.Broadcast, ip))
}

func listenNDP(i *net.Interface) (*ndp.Conn, error) {
	c, _, err := ndp.Listen(i, ndp.LinkLocal)
	if err != nil {
		return nil, fmt.Errorf("neighbour discovery on %s (it needs a link-local IPv6 address): %w", i.Name, err)
	}
	return c, nil
}

func probeNDP(i *net.Interface, ip netip.Addr) (string, error) {
	c, err := listenNDP(i)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	group, err := ndp.SolicitedNodeMulticast(ip)
	if err != nil {
		return "", err
	}
	ask := &ndp.NeighborSolicitation{TargetAddress: ip, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: i.HardwareAddr}}}
	for range probes {
		if err := c.WriteTo(ask, nil, group.WithZone(i.Name)); err != nil {
			return "", fmt.Errorf("neighbour discovery on %s: %w", i.Name, err)
		}
		if err := c.SetReadDeadline(time.Now().Add(probeWait)); err != nil {
			return "", err
		}
		for {
			m, _, from, err := c.ReadFrom()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return "", fmt.Errorf("neighbour discovery on %s: %w", i.Name, err)
			}
			if na, ok := m.(*ndp.NeighborAdvertisement); ok && na.TargetAddress == ip {
				return answerer(na, from), nil
			}
		}
	}
	return "", nil
}

// answerer is the hardware address in an advertisement, or the address that it came from where it has none.
func answerer(na *ndp.NeighborAdvertisement, from netip.Addr) string {
	for _, o := range na.Options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok {
			return l.Addr.String()
		}
	}
	return from.String()
}

func announceNDP(i *net.Interface, ip netip.Addr) error {
	c, err := listenNDP(i)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	err = c.WriteTo(&ndp.NeighborAdvertisement{Override: true, TargetAddress: ip,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: i.HardwareAddr}}}, nil, netip.IPv6LinkLocalAllNodes().WithZone(i.Name))
	if err != nil {
		return fmt.Errorf("neighbour discovery on %s: %w", i.Name, err)
	}
	return nil
}
