package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// Platform is a program's part in a cluster: the node that it is, and a client of the control plane. It is safe for concurrent use
// once the program's apps are registered.
type Platform struct {
	cluster, node string
	servers       string
	subjects      events.Subjects

	labels      map[string]string
	policy      *spec.Policy
	creds       string
	healthAddr  string
	metricsAddr string
	address     string
	dataDir     string
	ttl         time.Duration
	limit       time.Duration // of a function of an app
	log         *slog.Logger

	dial    func(name string) (*nats.Conn, error)
	tune    func(*agent.Config) // by tests: clocks and the like
	serving func(addr string)   // told where probes answer; may be nil

	seen atomic.Uint64 // sequence of the newest event that a call has heard of

	mu      sync.Mutex
	faults  []string
	apps    []*Application
	running bool
	nc      *nats.Conn // of the calls; nil before the first
	driver  *embedded.Driver
}

// Option chooses something about a platform.
type Option func(*Platform)

// NewPlatform returns the part that this program has in a cluster: as the node of that name, once Run is called, and as a client,
// whose methods need no Run. The servers are NATS URLs, separated by commas. A program that is a client only leaves the node empty.
//
// Nothing is connected yet, and what is wrong with the arguments comes out of Run and of every call.
func NewPlatform(cluster, nodeID, natsURL string, options ...Option) *Platform {
	p := &Platform{cluster: cluster, node: nodeID, servers: natsURL, log: slog.New(slog.DiscardHandler), limit: DefaultHookTimeout}
	p.dial = func(name string) (*nats.Conn, error) {
		return transport.Connect(transport.ConnectOptions{Servers: p.servers, Name: name, Creds: p.creds})
	}
	p.check(spec.ValidateName("cluster", cluster))
	if nodeID != "" {
		p.check(spec.ValidateName("node", nodeID))
	}
	if strings.TrimSpace(natsURL) == "" {
		p.fault("no NATS URL: want one such as nats://127.0.0.1:4222")
	}
	p.subjects, _ = events.NewSubjects(cluster)
	for _, o := range options {
		if o == nil {
			p.fault("an option is nil")
			continue
		}
		o(p)
	}
	if p.policy != nil {
		if err := p.policy.Validate(); err != nil {
			p.fault("policy: %v", err)
		}
	}
	return p
}

// Labels declares labels of the node. They are merged into those that it has: a set that differs from the last declared one wins
// over what operators have set for its keys, and the same set again changes nothing.
func Labels(labels map[string]string) Option {
	labels = maps.Clone(labels)
	return func(p *Platform) {
		p.check(spec.ValidateLabels(labels))
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			if spec.ReservedLabel(k) {
				p.fault("label %s: the prefix %s is reserved for the cluster", k, spec.ReservedLabelPrefix)
			}
		}
		p.labels = labels
	}
}

// NATSCreds names the credentials file with which the program connects.
func NATSCreds(file string) Option {
	return func(p *Platform) {
		if file == "" {
			p.fault("NATSCreds: the file's name is empty")
		}
		p.creds = file
	}
}

// HealthAddr has Run answer /healthz (the program lives) and /readyz (it is a node of the cluster) on an address; port 0 takes a free
// one. They have no access control.
func HealthAddr(address string) Option {
	return func(p *Platform) { p.healthAddr = p.listen("HealthAddr", address) }
}

// MetricsAddr has Run answer /metrics, for Prometheus, on an address, which may be that of HealthAddr.
func MetricsAddr(address string) Option {
	return func(p *Platform) { p.metricsAddr = p.listen("MetricsAddr", address) }
}

func (p *Platform) listen(option, address string) string {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		p.fault("%s %q: want HOST:PORT or :PORT; port 0 takes a free one", option, address)
	}
	return address
}

// DataDir is the directory of this node: its identity, its journal and its instances' data. It belongs to one node for ever. The
// default is go-cluster/<node> below /var/lib for root, and below the user's state directory for others.
func DataDir(dir string) Option {
	return func(p *Platform) {
		if dir == "" {
			p.fault("DataDir: the directory's name is empty")
		}
		p.dataDir = dir
	}
}

// Address is the address under which others reach this node's apps. The default is the one that it reaches NATS from.
func Address(host string) Option {
	return func(p *Platform) {
		if host == "" || strings.ContainsAny(host, " /") {
			p.fault("Address %q: want a host name or an IP address", host)
		}
		p.address = host
	}
}

// LeaseTTL is how long the node may be silent before its apps start elsewhere: at least 3 s, 30 s unless set.
func LeaseTTL(ttl time.Duration) Option {
	return func(p *Platform) {
		if ttl < agent.MinTTL {
			p.fault("LeaseTTL %s: want at least %s", ttl, agent.MinTTL)
		}
		p.ttl = ttl
	}
}

// DefaultHookTimeout is how long a function of an app may take unless HookTimeout says otherwise.
const DefaultHookTimeout = 30 * time.Second

// HookTimeout is how long each call of a function of this program's apps may take.
func HookTimeout(limit time.Duration) Option {
	return func(p *Platform) {
		if limit <= 0 || limit > time.Hour {
			p.fault("HookTimeout %s: want more than 0 and at most 1h", limit)
		}
		p.limit = limit
	}
}

// Logger is where the node says what it does. Unless set it says nothing.
func Logger(log *slog.Logger) Option {
	return func(p *Platform) {
		if log == nil {
			p.fault("Logger: it is nil")
			return
		}
		p.log = log
	}
}

// Register makes apps of this program known. The node can run them once Run is called. What is wrong with them is returned here, by
// Run and by every call.
func (p *Platform) Register(apps ...*Application) error {
	p.mu.Lock()
	running := p.running
	p.mu.Unlock()
	if running {
		return invalid("register: the platform runs already: register every app before Run")
	}
	for _, a := range apps {
		if a == nil {
			p.fault("register: an app is nil")
			continue
		}
		p.adopt(a)
	}
	return p.fit()
}

func (p *Platform) adopt(a *Application) {
	for _, why := range a.bind(p) {
		p.fault("app %s: %s", a.name, why)
	}
	p.mu.Lock()
	twice := slices.ContainsFunc(p.apps, func(o *Application) bool { return o.name == a.name })
	p.apps = append(p.apps, a)
	p.mu.Unlock()
	if twice {
		p.fault("app %s: it is registered twice", a.name)
	}
}

// Close ends the connection of the platform's calls. A later call connects anew.
func (p *Platform) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nc != nil {
		p.nc.Close()
		p.nc = nil
	}
}

func (p *Platform) check(err error) {
	if err != nil {
		p.fault("%v", err)
	}
}

func (p *Platform) fault(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// fit returns everything that is wrong with the platform's options and apps, in one error, or nil.
func (p *Platform) fit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.faults) == 0 {
		return nil
	}
	return invalid("platform %s: %s", p.cluster, strings.Join(p.faults, "; "))
}

// present returns the driver of the node while it runs.
func (p *Platform) present() *embedded.Driver {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.driver
}

func (p *Platform) connect(ctx context.Context, name string) (*nats.Conn, error) {
	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		nc, err := p.dial(name)
		done <- result{nc, err}
	}()
	select {
	case r := <-done:
		return r.nc, r.err
	case <-ctx.Done():
		go func() { // it takes its time, which nobody waits for
			if r := <-done; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}
