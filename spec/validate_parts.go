package spec

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// checkParts checks the parts that stand beside the process: hooks, address and load balancer.
func (a App) checkParts(f *faults) {
	for _, name := range slices.Sorted(maps.Keys(a.Hooks)) {
		h, field := a.Hooks[name], member("hooks", name)
		if known := []string{HookMigrationStart, HookMigrationComplete, HookPlacementInvalid}; !slices.Contains(known, name) {
			f.addf(field, "want one of %s", strings.Join(known, ", "))
			continue
		}
		switch {
		case a.Process == nil && (len(h.Command) > 0 || h.URL != ""):
			f.addf(field, "only an app with a process has commands and URLs")
		case a.Process == nil:
		case len(h.Command) > 0 && h.URL != "":
			f.addf(field, "has both a command and a url: want exactly one")
		case h.URL != "":
			u, err := url.Parse(a.sample(h.URL))
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				f.addf(field+".url", "%s: want an http or https URL", quoteShort(h.URL))
			}
		default:
			checkCommand(f, field+".command", h.Command)
		}
		checkDuration(f, field+".timeout", h.Timeout, time.Millisecond, longestWait)
	}
	if a.VIP != nil {
		if a.Mode != Singleton {
			f.addf("vip", "only a singleton has an address of its own")
		}
		if a.OnIsolation == OnIsolationContinue {
			f.addf("vip", "an address ends with the lease: not with on_isolation: %s", OnIsolationContinue)
		}
		if p, err := netip.ParsePrefix(a.VIP.Address); err == nil {
			if ip := p.Addr(); ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || ip.Is4In6() || ip.IsLinkLocalUnicast() {
				f.addf("vip.address", "%s: want an address that one host can have", a.VIP.Address)
			} else if what := ofTheNetwork(p); what != "" {
				f.addf("vip.address", "%s: is the %s of its network: want one of a host", a.VIP.Address, what)
			}
		} else {
			f.addf("vip.address", "%swant an address with its prefix length such as 10.0.1.100/24", orMissing(a.VIP.Address))
		}
		// 15 is the kernel's limit for an interface's name.
		if n := a.VIP.Interface; n == "" || len(n) > 15 || strings.ContainsAny(n, "/ \t\n\x00") {
			f.addf("vip.interface", "%swant the name of a network interface", orMissing(n))
		}
	}
	if a.Pool != nil {
		a.Pool.check(f, a.Ports)
	}
}

// ofTheNetwork says what an IPv4 address is that no host of its network can have, "" for one that a host can have.
func ofTheNetwork(p netip.Prefix) string {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return ""
	}
	ip, hosts := p.Addr().As4(), uint32(1)<<(32-p.Bits())-1 // of which all bits are 0, or all 1
	switch binary.BigEndian.Uint32(ip[:]) & hosts {
	case 0:
		return "address"
	case hosts:
		return "broadcast address"
	}
	return ""
}

func (p Pool) check(f *faults, ports map[string]int) {
	if p.HAProxy == "" {
		f.addf("pool.haproxy", "missing: want the runtime socket such as unix:/run/haproxy.sock")
	}
	if p.Backend == "" {
		f.addf("pool.backend", "missing: want the name of a backend")
	}
	if len(p.Nodes) == 0 {
		f.addf("pool.nodes", "missing: want the nodes whose agents own the socket")
	}
	checkNames(f, "pool.nodes", "node", p.Nodes)
	if _, declared := ports[p.Port]; !declared {
		f.addf("pool.port", "%swant the name of a port under ports", orMissing(p.Port))
	}
}

// checkSQLite wants a database that is the agent's to replace: a file right in the data directory, which belongs to the instance alone.
func (a App) checkSQLite(f *faults) {
	if a.SQLite == "" {
		return
	}
	if a.Mode != Singleton {
		f.addf("sqlite", "only an app of mode singleton has one, since only one of its instances writes at a time")
	}
	name, in := strings.CutPrefix(a.SQLite, "$GC_DATA_DIR/")
	if !in {
		name, in = strings.CutPrefix(a.SQLite, "${GC_DATA_DIR}/")
	}
	if !in || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/$\x00") {
		f.addf("sqlite", "%q: want a file in the data directory, such as $GC_DATA_DIR/app.db", a.SQLite)
	}
}

// checkLog wants one writer, and the data in one place.
func (a App) checkLog(f *faults) {
	switch {
	case !a.Log:
	case a.Mode != Singleton:
		f.addf("log", "only a singleton has one writer, and its mode is %s", a.Mode)
	case a.SQLite != "":
		f.addf("log", "its data are in one place, and it has sqlite")
	}
}

// checkVariables looks at every text that is expanded when an instance starts.
func (a App) checkVariables(f *faults) {
	known := KnownVariables(a.Ports)
	check := func(field, s string) {
		scanVariables(s, func(string) {}, func(name, written string) {
			if name != "" && slices.Contains(known, name) {
				return
			}
			detail := unknownVariable(name, written).Error()
			if near := nearest(name, known); name != "" && near != "" {
				detail += " (did you mean $" + near + "?)"
			} else if strings.HasPrefix(name, "GC_PORT_") {
				detail += " (no such port under ports)"
			}
			f.addf(field, "%s", detail)
		})
	}
	if a.Process != nil {
		for i, s := range a.Process.Command {
			check(at("process.command", i), s)
		}
		for k, s := range a.Process.Env {
			check(member("process.env", k), s)
		}
	}
	for name, h := range a.Hooks {
		check(member("hooks", name)+".url", h.URL)
		for i, s := range h.Command {
			check(at(member("hooks", name)+".command", i), s)
		}
	}
	if a.Health != nil {
		check("health.http", a.Health.HTTP)
		check("health.tcp", a.Health.TCP)
		for i, s := range a.Health.Exec {
			check(at("health.exec", i), s)
		}
	}
	check("sqlite", a.SQLite)
	if a.Pool != nil {
		check("pool.haproxy", a.Pool.HAProxy)
		check("pool.backend", a.Pool.Backend)
	}
}
