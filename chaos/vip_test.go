//go:build linux

package chaos

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// vipApps are two singletons on one address of each family.
var vipApps = map[string]struct {
	address string
	port    int
}{"four": {"10.77.0.100/24", 8004}, "six": {"fd77::100/64", 8006}}

const vipSpec = `name: %s
mode: singleton
process:
  command: [/usr/bin/env, GC_ADDRESS=, %s, sample, counter]
  stop_timeout: 5s
  env: {JOURNAL: %s, INTERVAL: 20ms}
ports: {http: %d}
vip: {address: "%s", interface: %s}
health: {http: "http://127.0.0.1:$GC_PORT_HTTP/health", interval: 200ms, healthy_after: 1}
migration: {step_timeout: 10s}
user: root
`

// startLAN starts a cluster of which each part has a network of its own.
func startLAN(t *testing.T, nodes ...string) *cluster {
	t.Helper()
	l := newLAN(t, nodes...)
	c := open(t, newDir(t))
	c.lan = l
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.url = "nats://" + l.address(lanNATS) + ":4222"
	at := func(host string, p *process) *process {
		p.argv = l.argv(host, p.argv...)
		return p
	}
	server := c.spawn(at(lanNATS, &process{name: "nats", argv: []string{self, filepath.Join(c.dir, "nats-store"), "4222"},
		env: append(c.mark(), roleVariable+"="+roleNATS, natsHostVariable+"="+l.address(lanNATS))}))
	until(t, "NATS listens", limit, func() bool {
		b, _ := os.ReadFile(server.log)
		return strings.Contains(string(b), natsReady)
	})
	c.connect(c.url)
	c.spawn(at(lanNATS, c.service("all")))
	for _, n := range nodes {
		p := c.agent(n, n, ttl)
		p.argv[len(p.argv)-1] = l.address(n)
		c.spawn(at(n, p))
	}
	c.until("the nodes are ready", limit, func(v *projections.Cluster) bool { return ready(v, nodes...) })
	return c
}

func (c *cluster) vipFile(app, address, iface string) string {
	c.t.Helper()
	file := filepath.Join(c.dir, app+".yaml")
	text := fmt.Sprintf(vipSpec, app, binary, c.journal(app), vipApps[app].port, address, iface)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// witness looks at an address from outside: where it is at each moment, and who answers under it.
type witness struct {
	c       *cluster
	app     string
	ip      netip.Addr
	port    int
	nodes   []string
	done    chan struct{}
	working sync.WaitGroup

	mu      sync.Mutex
	samples int
	doubles []string
	answer  string // node that answered last
	at      time.Duration
	longest time.Duration
	answers int
}

// watch begins to look at the app's address. Everything found is judged by judge.
func (c *cluster) watch(app string, nodes ...string) *witness {
	c.t.Helper()
	w := &witness{c: c, app: app, ip: netip.MustParsePrefix(vipApps[app].address).Addr(), port: vipApps[app].port, nodes: nodes, done: make(chan struct{})}
	w.working.Go(w.where)
	w.working.Go(w.who)
	c.t.Cleanup(w.stop)
	return w
}

func (w *witness) stop() {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
	w.working.Wait()
}

func (w *witness) every(d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-tick.C:
			f()
		}
	}
}

// where samples on which hosts the address is. Hosts are asked one after the other: that two have it at one time is certain only
// where the first has it before and after the second was asked.
func (w *witness) where() {
	w.every(20*time.Millisecond, func() {
		for i, a := range w.nodes {
			for _, b := range w.nodes[i+1:] {
				if w.c.lan.holds(a, w.ip) && w.c.lan.holds(b, w.ip) && w.c.lan.holds(a, w.ip) {
					w.mu.Lock()
					w.doubles = append(w.doubles, fmt.Sprintf("%s at %s on %s and %s", w.ip, time.Now().Format("15:04:05.000"), a, b))
					w.mu.Unlock()
				}
			}
		}
		w.mu.Lock()
		w.samples++
		w.mu.Unlock()
	})
}

// who asks the address from the client's host, with a new connection each time.
func (w *witness) who() {
	w.every(50*time.Millisecond, func() {
		node, err := w.ask()
		if err != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		now := transport.Boottime()
		if w.answers > 0 {
			w.longest = max(w.longest, now-w.at)
		}
		w.answer, w.at, w.answers = node, now, w.answers+1
	})
}

func (w *witness) ask() (node string, err error) {
	conn, err := w.c.lan.dialer(lanClient).Dial("tcp", net.JoinHostPort(w.ip.String(), fmt.Sprint(w.port)))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := fmt.Fprintf(conn, "GET /count HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	rep, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = rep.Body.Close() }()
	var at struct {
		Node string `json:"node"`
	}
	return at.Node, json.UnmarshalRead(rep.Body, &at)
}

// reaches waits until the client gets an answer from the node that has the app by the log, of a moment after now.
func (w *witness) reaches() string {
	w.c.t.Helper()
	now, node := transport.Boottime(), ""
	until(w.c.t, "a client reaches "+w.app+" where it runs", limit, func() bool {
		calm := false
		w.c.view(func(v *projections.Cluster) {
			if calm = runs(v, w.app); calm {
				node = v.Apps[w.app].SortedInstances()[0].Node
			}
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		return calm && w.at > now && w.answer == node
	})
	return node
}

// judge checks what was seen since the beginning: the address never twice, the journal in order.
func (w *witness) judge() {
	w.c.t.Helper()
	w.stop()
	for _, d := range w.doubles {
		w.c.t.Error(d)
	}
	if w.samples == 0 || w.answers == 0 {
		w.c.t.Errorf("%s: %d samples, %d answers", w.app, w.samples, w.answers)
	}
	w.c.alone(w.app)
	w.c.t.Logf("%s: %d samples, %d answers, longest without one %s", w.app, w.samples, w.answers, w.longest.Round(time.Millisecond))
	if most := ttl*11/10 + 10*time.Second; *all && w.longest > most {
		w.c.t.Errorf("%s: no answer for %s, more than %s", w.app, w.longest, most)
	}
}

// withVIPs runs f on a cluster of three nodes with both apps, and judges it.
func withVIPs(t *testing.T, f func(c *cluster, ws map[string]*witness)) {
	t.Helper()
	nodes := []string{"n1", "n2", "n3"}
	c := startLAN(t, nodes...)
	ws := map[string]*witness{}
	for app, a := range vipApps {
		c.must("app", "apply", "-f", c.vipFile(app, a.address, "eth0"))
		ws[app] = c.watch(app, nodes...)
	}
	for _, w := range ws {
		w.reaches()
	}
	f(c, ws)
	for _, w := range ws {
		w.reaches()
		w.judge()
	}
}

// allOn moves both apps to one node.
func (c *cluster) allOn(node string, ws map[string]*witness) {
	c.t.Helper()
	for app, w := range ws {
		c.must("app", "move", app, "--to", node)
		if at := w.reaches(); at != node {
			c.t.Fatalf("%s is on %s after a move to %s", app, at, node)
		}
	}
}

// Addresses follow planned moves, and their active's loss of NATS. Nothing that is in use, and no interface that is not there, is
// taken for one.
func TestVIP(t *testing.T) {
	withVIPs(t, func(c *cluster, ws map[string]*witness) {
		c.allOn("n1", ws)
		if out := c.must("app", "show", "four").out; !strings.Contains(out, "vip 10.77.0.100/24 on n1 (eth0)") {
			t.Errorf("app show: %s", out)
		}
		c.badAddresses(ws["four"])
		c.thirdHost()
		c.lan.filter("n1", c.lan.cut("n1", lanNATS)...)
		c.until("both run elsewhere", limit, func(v *projections.Cluster) bool {
			return runs(v, "four") && runs(v, "six") && c.elsewhere(v, "four", "n1") && c.elsewhere(v, "six", "n1")
		})
		for _, w := range ws {
			w.reaches()
		}
		c.lan.filter("n1")
		c.until("n1 is back", limit, func(v *projections.Cluster) bool { return ready(v, "n1") })
	})
}

// badAddresses asks for what cannot be had. The source serves on.
func (c *cluster) badAddresses(w *witness) {
	c.t.Helper()
	r := c.cli("app", "apply", "-f", c.vipFile("four", vipApps["four"].address, "eth7"))
	if r.code != 3 || !strings.Contains(r.err, "no interface eth7 (has eth0)") {
		c.t.Errorf("a wrong interface: %s", r)
	}
	const taken = "10.77.0.99/24"
	c.lan.on(lanClient, "ip", "addr", "add", taken, "dev", "eth0")
	seq := c.seq()
	old := c.living("four")[0].pid
	if r := c.cli("app", "apply", "-f", c.vipFile("four", taken, "eth0")); r.code != 7 || !strings.Contains(r.err, "four does not come up") || !strings.Contains(r.err, taken+" on eth0 is in use") {
		c.t.Errorf("an address in use: %s", r)
	}
	until(c.t, "the conflict is in the log", limit, func() bool {
		for _, e := range c.stored(seq) {
			if d, ok := e.Data.(*events.StepFailed); ok && d.Code == "vip_conflict" && strings.Contains(d.Detail, taken) {
				return true
			}
			if d, ok := e.Data.(*events.MigrationFailed); ok && strings.Contains(d.Detail, taken) {
				return true
			}
		}
		return false
	})
	if now := c.living("four"); len(now) != 1 || now[0].pid != old {
		c.t.Errorf("it was process %d, now:\n%s", old, describe(now))
	}
	c.must("app", "apply", "-f", c.vipFile("four", vipApps["four"].address, "eth0"))
	w.reaches()
	c.lan.on(lanClient, "ip", "addr", "del", taken, "dev", "eth0")
}

// thirdHost has somebody else use the address of an app with data while that is to be moved. The source serves on.
func (c *cluster) thirdHost() {
	c.t.Helper()
	const address = "10.77.0.101/24"
	c.apply("ledger", fmt.Sprintf("vip: {address: %s, interface: eth0}\n", address)+fmt.Sprintf(ledgerSpec, "ledger", binary, c.journal("ledger")))
	from := c.on("ledger")[0]
	to := map[bool]string{true: "n2", false: "n1"}[from == "n1"]
	pid := func() string {
		for _, p := range c.living("ledger") {
			return fmt.Sprint(p.pid)
		}
		return "none"
	}
	old := pid()
	c.lan.on(lanClient, "ip", "addr", "add", address, "dev", "eth0")
	if r := c.cli("app", "move", "ledger", "--to", to); r.code == 0 || !strings.Contains(r.err, "answers for it, too") {
		c.t.Errorf("moved while somebody else has the address: %s", r)
	}
	if now := pid(); now != old || !c.lan.holds(from, netip.MustParsePrefix(address).Addr()) {
		c.t.Errorf("on %s it was process %s, and is %s", from, old, now)
	}
	c.lan.on(lanClient, "ip", "addr", "del", address, "dev", "eth0")
	c.must("app", "move", "ledger", "--to", to)
}

// What can happen to a network around the active of an address.
func TestVIPNetworks(t *testing.T) {
	if !*all {
		t.Skip("with -chaos.all")
	}
	l := func(c *cluster) *lan { return c.lan }
	for name, harm := range map[string]func(c *cluster){
		"cut from NATS":             func(c *cluster) { l(c).filter("n1", l(c).cut("n1", lanNATS)...) },
		"cut from the others":       func(c *cluster) { l(c).filter("n1", l(c).cut("n1", "n2", "n3")...) },
		"cut from NATS and others":  func(c *cluster) { l(c).filter("n1", l(c).cut("n1", lanNATS, "n2", "n3")...) },
		"hears nothing from NATS":   func(c *cluster) { l(c).filter("n1", l(c).deaf("n1", lanNATS)...) },
		"is not heard by NATS":      func(c *cluster) { l(c).filter("n1", l(c).mute("n1", lanNATS)...) },
		"loses 30 % of all packets": func(c *cluster) { l(c).filter("n1", l(c).lossy("n1", 30)...) },
		"cut from everybody":        func(c *cluster) { l(c).filter("n1", l(c).cut("n1", lanNATS, lanClient, "n2", "n3")...) },
		"flapping": func(c *cluster) {
			d := dice(c.t.Name())
			for range 12 {
				l(c).filter("n1", l(c).cut("n1", lanNATS)...)
				pass(c.t, time.Duration(d.Int64N(int64(2*ttl))))
				l(c).filter("n1")
				pass(c.t, time.Duration(d.Int64N(int64(ttl))))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			withVIPs(t, func(c *cluster, ws map[string]*witness) {
				c.allOn("n1", ws)
				harm(c)
				pass(t, 5*ttl)
				if name != "loses 30 % of all packets" {
					for _, w := range ws {
						w.reaches()
					}
				}
				c.lan.filter("n1")
				c.until("n1 is back", limit, func(v *projections.Cluster) bool { return ready(v, "n1") })
			})
		})
	}
}

// Who stands still for twice the lease finds somebody else in his place, with the address, and writes nothing any more.
func TestVIPStopped(t *testing.T) {
	if !*all {
		t.Skip("with -chaos.all")
	}
	for name, who := range map[string]func(apps []int, agent int) []int{
		"agent": func(_ []int, agent int) []int { return []int{agent} },
		"app":   func(apps []int, _ int) []int { return apps },
		"both":  func(apps []int, agent int) []int { return append(apps, agent) },
	} {
		t.Run(name, func(t *testing.T) {
			withVIPs(t, func(c *cluster, ws map[string]*witness) {
				c.allOn("n1", ws)
				apps, _, agent := c.tree("n1")
				pids := who(apps, agent)
				c.signalAll(syscall.SIGSTOP, pids...)
				pass(t, 2*ttl)
				if name != "app" { // a node without its agent is lost; an app that stands still is not, before its health check says so
					c.until("both are taken over", limit, func(v *projections.Cluster) bool {
						return runs(v, "four") && runs(v, "six") && c.elsewhere(v, "four", "n1") && c.elsewhere(v, "six", "n1")
					})
				}
				for _, pid := range pids { // the watchdog may have killed it
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
				c.until("n1 is back", limit, func(v *projections.Cluster) bool { return ready(v, "n1") })
			})
		})
	}
}
