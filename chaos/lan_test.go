//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Hosts of a lan besides the nodes.
const (
	lanNATS   = "nats" // the server and the services
	lanClient = "client"
	lanSwitch = "switch"
)

// lan is a network of hosts: a network namespace each, with one interface eth0 on a bridge that is in one of its own.
type lan struct {
	t     *testing.T
	hosts []string
	ns    map[string]netns.NsHandle
	links map[string]*netlink.Handle
}

// lacking skips a test that cannot be done here, which in CI is a failure.
func lacking(t *testing.T, who, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s: needs %s", who, what)
	}
	t.Skipf("%s: needs %s", who, what)
}

func needRoot(t *testing.T, who string) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, who, "root")
	}
}

// newLAN makes the network, or skips the test where that cannot be done, which in CI is a failure.
func newLAN(t *testing.T, nodes ...string) *lan {
	t.Helper()
	needRoot(t, "hosts with networks of their own")
	for tool, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacking(t, "hosts with networks of their own", "package "+pkg)
		}
	}
	l := &lan{t: t, hosts: append([]string{lanNATS, lanClient}, nodes...), ns: map[string]netns.NsHandle{}, links: map[string]*netlink.Handle{}}
	t.Cleanup(func() {
		for _, h := range l.links {
			h.Close()
		}
		for _, h := range l.ns {
			_ = h.Close()
		}
		removeNamespaces(filepath.Base(root))
	})
	l.run("ip", "netns", "add", namespace(lanSwitch))
	l.on(lanSwitch, "ip", "link", "add", "br0", "type", "bridge")
	l.on(lanSwitch, "ip", "link", "set", "br0", "up")
	for i, h := range l.hosts {
		l.run("ip", "netns", "add", namespace(h))
		l.on(lanSwitch, "ip", "link", "add", l.port(h), "type", "veth", "peer", "name", "eth0", "netns", namespace(h))
		l.on(lanSwitch, "ip", "link", "set", l.port(h), "master", "br0", "up")
		l.on(h, "ip", "link", "set", "lo", "up")
		l.on(h, "ip", "addr", "add", l.address(h)+"/24", "dev", "eth0")
		l.on(h, "ip", "addr", "add", fmt.Sprintf("fd77::%d/64", i+1), "dev", "eth0", "nodad")
		l.on(h, "ip", "link", "set", "eth0", "up")
		var err error
		if l.ns[h], err = netns.GetFromName(namespace(h)); err == nil {
			l.links[h], err = netlink.NewHandleAt(l.ns[h])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	until(t, "link-local addresses are settled", limit, func() bool { // they are looked for in use for a second or two
		for _, h := range l.hosts {
			if out, err := exec.Command("ip", "-n", namespace(h), "-6", "addr", "show", "tentative").Output(); err != nil || len(out) > 0 {
				return false
			}
		}
		return true
	})
	return l
}

// namespace is marked as one of ours by the name of the directory of everything.
func namespace(host string) string { return filepath.Base(root) + "-" + host }

func removeNamespaces(prefix string) {
	all, _ := filepath.Glob("/run/netns/" + prefix + "-*")
	for _, ns := range all {
		_ = exec.Command("ip", "netns", "del", filepath.Base(ns)).Run()
	}
}

func (l *lan) address(host string) string { return fmt.Sprintf("10.77.0.%d", l.index(host)+1) }

// port is where a host is plugged into the switch.
func (l *lan) port(host string) string { return fmt.Sprint("port", l.index(host)) }

func (l *lan) index(host string) int {
	i := slices.Index(l.hosts, host)
	if i < 0 {
		l.t.Fatalf("no host %s", host)
	}
	return i
}

// argv is a command line on a host. The process that it starts is the command itself.
func (l *lan) argv(host string, argv ...string) []string {
	return append([]string{"ip", "netns", "exec", namespace(host)}, argv...)
}

func (l *lan) on(host string, argv ...string) {
	l.t.Helper()
	l.run(l.argv(host, argv...)...)
}

func (l *lan) run(argv ...string) {
	l.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// filter replaces what the switch drops of a host's frames: whatever they carry, neighbour discovery of both families included.
func (l *lan) filter(host string, rules ...string) {
	l.t.Helper()
	table := "bridge " + l.port(host)
	text := fmt.Sprintf("table %s\ndelete table %s\ntable %s {\nchain forward { type filter hook forward priority 0;\n%s\n}\n}\n", table, table, table, strings.Join(rules, "\n"))
	cmd := exec.Command("ip", "netns", "exec", namespace(lanSwitch), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft on the switch: %v\n%s%s", err, text, out)
	}
}

// deaf and mute drop what a host gets from others and what it sends them.
func (l *lan) deaf(host string, from ...string) (rules []string) {
	for _, h := range from {
		rules = append(rules, fmt.Sprintf("iifname %s oifname %s drop", l.port(h), l.port(host)))
	}
	return rules
}

func (l *lan) mute(host string, to ...string) (rules []string) {
	for _, h := range to {
		rules = append(rules, l.deaf(h, host)...)
	}
	return rules
}

func (l *lan) cut(host string, from ...string) []string {
	return append(l.deaf(host, from...), l.mute(host, from...)...)
}

// lossy drops a part of all frames of a host, both ways.
func (l *lan) lossy(host string, percent int) (rules []string) {
	for _, way := range []string{"iifname", "oifname"} {
		rules = append(rules, fmt.Sprintf("%s %s numgen random mod 100 < %d drop", way, l.port(host), percent))
	}
	return rules
}

// holds says whether a host has an address now.
func (l *lan) holds(host string, ip netip.Addr) bool {
	eth0, err := l.links[host].LinkByName("eth0")
	if err != nil {
		l.t.Errorf("%s: %v", host, err)
		return false
	}
	all, err := l.links[host].AddrList(eth0, netlink.FAMILY_ALL)
	if err != nil {
		return false // interrupted by a change: the next look is another one
	}
	for _, a := range all {
		if got, ok := netip.AddrFromSlice(a.IP); ok && got.Unmap() == ip {
			return true
		}
	}
	return false
}

// dialer connects as a process on a host does.
func (l *lan) dialer(host string) lanDialer { return lanDialer{l.ns[host]} }

type lanDialer struct{ ns netns.NsHandle }

// Dial implements nats.CustomDialer.
func (d lanDialer) Dial(network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() { // its thread is in another network from here on, and ends with it
		runtime.LockOSThread()
		if err := netns.Set(d.ns); err != nil {
			done <- result{nil, err}
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		done <- result{c, err}
	}()
	r := <-done
	return r.conn, r.err
}
