//go:build linux

package process

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent"
)

// Picked ports lie in this range.
const (
	firstPort = 20000
	lastPort  = 31999
)

// heldPort is a picked port, bound while its instance does not run.
type heldPort struct{ port, fd int }

// reservePorts returns the ports of the instance: fixed ones as declared, picked ones as they were or new. Picked ones are bound
// afterwards, until takePorts.
func (d *Driver) reservePorts(in *instance, i agent.Instance) (map[string]int, error) {
	for name := range in.holds {
		if want, declared := i.App.Ports[name]; !declared || want != 0 {
			in.releasePort(name)
		}
	}
	if len(i.App.Ports) == 0 {
		return nil, nil
	}
	ports := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(i.App.Ports)) {
		if fixed := i.App.Ports[name]; fixed != 0 {
			if fixed < 0 || fixed > 65535 {
				return nil, fmt.Errorf("port %s: %d is not a port", name, fixed)
			}
			ports[name] = fixed
			continue
		}
		before := 0
		if in.rec.Instance.App.Ports[name] == 0 { // a port that used to be fixed is not kept
			before = in.rec.Ports[name]
		}
		port, err := d.holdPort(in, name, before)
		if err != nil {
			return nil, err
		}
		ports[name] = port
	}
	return ports, nil
}

// holdPort binds the port before, or another one where there is none or it is taken.
func (d *Driver) holdPort(in *instance, name string, before int) (int, error) {
	if h, held := in.holds[name]; held {
		return h.port, nil
	}
	if before != 0 {
		err := in.hold(name, before)
		if err == nil {
			return before, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return 0, fmt.Errorf("port %s: bind %d: %w", name, before, err)
		}
		d.opts.Logger.Warn("picked port is taken by somebody else, picking another one",
			zap.String("instance", in.id), zap.String("port", name), zap.Int("number", before))
	}
	// Drivers on one host begin at different places; the same one for the same instance and directory.
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s", d.opts.Dir, in.id, name)
	const count = lastPort - firstPort + 1
	for n := range uint32(count) {
		port := firstPort + int((h.Sum32()+n)%count)
		if d.declared(port) {
			continue
		}
		fd, err := bindAny(port, false) // only a port that nobody uses in any way is free
		if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("port %s: bind %d: %w", name, port, err)
		}
		in.holds[name] = heldPort{port, fd}
		return port, nil
	}
	return 0, fmt.Errorf("port %s: none of %d–%d is free", name, firstPort, lastPort)
}

// declared reports whether an instance has the port, running or not.
func (d *Driver) declared(port int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, in := range d.instances {
		for _, p := range in.rec.Ports {
			if p == port {
				return true
			}
		}
	}
	return false
}

// takePorts hands the ports over to the app that is about to start. A fixed port that is taken is an error.
func (d *Driver) takePorts(in *instance) error {
	i := in.rec.Instance
	ports, err := d.reservePorts(in, i)
	if err != nil {
		return err
	}
	if !maps.Equal(ports, in.rec.Ports) { // a picked one had been taken
		d.change(in, func() { in.rec.Ports = ports })
		if err := in.save(); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		if i.App.Ports[name] == 0 {
			continue
		}
		if other := d.runningOn(in, ports[name]); other != "" {
			return fmt.Errorf("port %s: %d is used by instance %s", name, ports[name], other)
		}
		if portTaken(i.Address, ports[name]) {
			return fmt.Errorf("port %s: %d on %s is used by another program", name, ports[name], i.Address)
		}
	}
	in.releasePorts()
	return nil
}

// runningOn returns the other instance that runs with the port, or is about to.
func (d *Driver) runningOn(self *instance, port int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, in := range d.instances {
		if in == self || !in.rec.Want && in.run == nil {
			continue
		}
		for _, p := range in.rec.Ports {
			if p == port {
				return id
			}
		}
	}
	return ""
}

// keepPorts binds the picked ports again after a run. One that somebody was faster to take is replaced at the next start.
func (d *Driver) keepPorts(in *instance) {
	for name, port := range in.rec.Ports {
		if _, held := in.holds[name]; held || in.rec.Instance.App.Ports[name] != 0 {
			continue
		}
		if err := in.hold(name, port); err != nil {
			d.opts.Logger.Warn("picked port is not free after the run",
				zap.String("instance", in.id), zap.String("port", name), zap.Int("number", port), zap.Error(err))
		}
	}
}

// hold binds a port that the instance has. Connections of its last run may linger on it; then it is shared with whoever asks for
// it with address reuse, and still kept from those who look for a free one.
func (in *instance) hold(name string, port int) error {
	fd, err := bindAny(port, false)
	if errors.Is(err, unix.EADDRINUSE) {
		fd, err = bindAny(port, true)
	}
	if err == nil {
		in.holds[name] = heldPort{port, fd}
	}
	return err
}

func (in *instance) releasePorts() {
	for name := range in.holds {
		in.releasePort(name)
	}
}

func (in *instance) releasePort(name string) {
	_ = unix.Close(in.holds[name].fd)
	delete(in.holds, name)
}

// bindAny binds a TCP port on all addresses without listening and returns the socket.
func bindAny(port int, reuse bool) (int, error) {
	fd, err := bind(netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)), reuse)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return bind(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)), reuse)
	}
	return fd, err
}

// portTaken reports whether a server that wants to listen on the address would be refused. Doubt is not a refusal: the address may
// be reached through translation only, and the program may have a right to low ports that the agent has not.
func portTaken(address string, port int) bool {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		addr = netip.IPv6Unspecified()
	}
	fd, err := bind(netip.AddrPortFrom(addr, uint16(port)), true)
	if err == nil {
		_ = unix.Close(fd)
	}
	return errors.Is(err, unix.EADDRINUSE)
}

func bind(at netip.AddrPort, reuse bool) (int, error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	if at.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if err == nil && reuse {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
