//go:build linux

package vip

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/go-cluster/go-cluster/spec"
)

// lan is two machines on a wire: network namespaces that a veth pair joins.
type lan struct {
	*testing.T
	ns map[string]netns.NsHandle
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	need := func(ok bool, what string) {
		switch {
		case ok:
		case os.Getenv("CI") == "true":
			t.Fatalf("%s is missing", what)
		default:
			t.Skipf("%s is missing", what)
		}
	}
	need(os.Geteuid() == 0, "root")
	_, err := exec.LookPath("ip")
	need(err == nil, "package iproute2")
	l := &lan{T: t, ns: map[string]netns.NsHandle{}}
	name := func(m string) string { return fmt.Sprintf("gcvip-%d-%s", os.Getpid(), m) }
	t.Cleanup(func() {
		for m, h := range l.ns {
			_ = h.Close()
			_ = exec.Command("ip", "netns", "del", name(m)).Run()
		}
	})
	for _, m := range []string{"a", "b"} {
		l.ip("netns", "add", name(m))
		h, err := netns.GetFromName(name(m))
		if err != nil {
			t.Fatal(err)
		}
		l.ns[m] = h
	}
	l.ip("-n", name("a"), "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", name("b"))
	for i, m := range []string{"a", "b"} {
		l.ip("-n", name(m), "addr", "add", fmt.Sprintf("10.9.0.%d/24", i+1), "dev", "eth0")
		l.ip("-n", name(m), "link", "set", "eth0", "up")
	}
	return l
}

func (l *lan) ip(args ...string) {
	l.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// on runs f as a process of the machine would.
func (l *lan) on(machine string, f func(c Carrier)) {
	done := make(chan struct{})
	go func() { // its thread ends with it: it is never used for anything else
		defer close(done)
		runtime.LockOSThread()
		if err := netns.Set(l.ns[machine]); err != nil {
			l.Error(err)
			return
		}
		f(Carrier{})
	}()
	<-done
}

// until waits for something on a machine.
func (l *lan) until(machine, what string, cond func(Carrier) bool) {
	l.Helper()
	ok := false
	l.on(machine, func(c Carrier) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(30 * time.Second); !ok && time.Now().Before(end); <-tick.C {
			ok = cond(c)
		}
	})
	if !ok {
		l.Fatalf("%s: not so: %s", machine, what)
	}
}

func has0(address string) bool {
	i, err := net.InterfaceByName("eth0")
	if err != nil {
		return false
	}
	all, _ := i.Addrs()
	for _, a := range all {
		if a.String() == address {
			return true
		}
	}
	return false
}

// What a machine has for good is its own: it is not made an address with a lifetime, nor taken off, however it is written.
func TestOwnAddress(t *testing.T) {
	l := newLAN(t)
	l.ip("-n", fmt.Sprintf("gcvip-%d-a", os.Getpid()), "addr", "add", "fd00:9::1/64", "dev", "eth0", "nodad")
	l.on("a", func(c Carrier) {
		for _, address := range []string{"10.9.0.1/24", "10.9.0.1/32", "fd00:9::1/64", "fd00:9::1/128"} {
			v := spec.VIP{Address: address, Interface: "eth0"}
			if iface, err := c.Own(v); iface != "eth0" || err != nil {
				t.Errorf("%s is on %q, %v", address, iface, err)
			}
			if _, err := c.Set(v, 1); err == nil || !strings.Contains(err.Error(), "the machine's own") {
				t.Errorf("set %s: %v", address, err)
			}
			if err := c.Remove(v); err != nil {
				t.Errorf("remove %s: %v", address, err)
			}
		}
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			t.Error(err)
			return
		}
		for _, ip := range []string{"10.9.0.1", "fd00:9::1"} {
			if there, err := found(link, netip.MustParseAddr(ip)); len(there) != 1 || !permanent(there[0]) || err != nil {
				t.Errorf("%s is %v, %v: want it once, for good", ip, there, err)
			}
		}
	})
}

// A machine with two interfaces on one network answers its own question by the other one, and is not taken for somebody else.
func TestTwoInterfacesOnOneNetwork(t *testing.T) {
	l := newLAN(t)
	ns := func(m string) string { return fmt.Sprintf("gcvip-%d-%s", os.Getpid(), m) }
	l.ip("-n", ns("b"), "link", "add", "br0", "type", "bridge")
	l.ip("-n", ns("a"), "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", ns("b"))
	for _, i := range []string{"eth0", "eth1"} {
		l.ip("-n", ns("a"), "link", "set", i, "up")
		l.ip("-n", ns("b"), "link", "set", i, "master", "br0")
		l.ip("-n", ns("b"), "link", "set", i, "up")
	}
	l.ip("-n", ns("b"), "link", "set", "br0", "up")
	v := spec.VIP{Address: "10.9.0.100/24", Interface: "eth0"}
	l.on("a", func(c Carrier) {
		if _, err := c.Set(v, 60); err != nil {
			t.Error(err)
		}
		if who, err := c.Probe(v); who != "" || err != nil {
			t.Errorf("the holder asks itself: %q, %v", who, err)
		}
	})
}

func TestCarrier(t *testing.T) {
	l := newLAN(t)
	for _, m := range []string{"a", "b"} { // duplicate address detection of the link-local addresses takes a second or two
		l.until(m, "neighbour discovery works", func(Carrier) bool {
			i, err := net.InterfaceByName("eth0")
			if err != nil {
				return false
			}
			c, err := listenNDP(i)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	for family, address := range map[string]string{"IPv4": "10.9.0.100/24", "IPv6": "fd00:9::100/64"} {
		t.Run(family, func(t *testing.T) {
			v := spec.VIP{Address: address, Interface: "eth0"}
			l.on("b", func(c Carrier) {
				if who, err := c.Probe(v); who != "" || err != nil {
					t.Errorf("nobody has it: %q, %v", who, err)
				}
			})
			mac := ""
			l.on("a", func(c Carrier) {
				i, _ := net.InterfaceByName("eth0")
				mac = i.HardwareAddr.String()
				if err := c.Check(v); err != nil {
					t.Error(err)
				}
				if iface, err := c.Own(v); iface != "" || err != nil {
					t.Errorf("not on yet, it is on %q, %v", iface, err)
				}
				for i, want := range []bool{true, false} {
					if added, err := c.Set(v, 60); added != want || err != nil {
						t.Errorf("set %d: added %t, %v", i, added, err)
					}
				}
				if err := c.Announce(v); err != nil {
					t.Error(err)
				}
				if iface, err := c.Own(v); iface != "eth0" || err != nil {
					t.Errorf("it is on %q, %v", iface, err)
				}
				if who, err := c.Probe(v); who != "" || err != nil {
					t.Errorf("the holder asks itself: %q, %v", who, err)
				}
			})
			l.until("b", "the holder answers", func(c Carrier) bool {
				who, err := c.Probe(v)
				if err != nil {
					t.Error(err)
				}
				return who == mac
			})
			l.on("a", func(c Carrier) {
				for range 2 {
					if err := c.Remove(v); err != nil || has0(address) {
						t.Errorf("removed: %v, still on: %t", err, has0(address))
					}
				}
			})
			l.on("b", func(c Carrier) {
				if who, err := c.Probe(v); who != "" || err != nil {
					t.Errorf("nobody has it any more: %q, %v", who, err)
				}
			})
			l.on("a", func(c Carrier) {
				if _, err := c.Set(v, 1); err != nil || !has0(address) {
					t.Errorf("set for a second: %v, on: %t", err, has0(address))
				}
			})
			l.until("a", "the kernel takes it off at the end of its lifetime", func(Carrier) bool { return !has0(address) })
		})
	}
	l.on("a", func(c Carrier) {
		err := c.Check(spec.VIP{Address: "10.9.0.100/24", Interface: "eth7"})
		if want := "no interface eth7 here (has eth0)"; err == nil || err.Error() != want {
			t.Errorf("wrong interface: %v, want %s", err, want)
		}
		if err := c.Remove(spec.VIP{Address: "10.9.0.100/24", Interface: "eth7"}); err != nil {
			t.Errorf("nothing is on an interface that is not there: %v", err)
		}
		if f := Facts(); f.Why != "" || fmt.Sprint(f.Interfaces) != "[eth0]" {
			t.Errorf("facts: %+v", f)
		}
	})
}
