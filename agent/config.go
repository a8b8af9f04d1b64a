package agent

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// Bounds and defaults of a node's lease.
const (
	MinTTL       = 3 * time.Second
	DefaultTTL   = 30 * time.Second
	DefaultRenew = 5 * time.Second
)

// Config is what a node's agent is given. Cluster, Node, Dir, NC, Dial and Driver are required.
type Config struct {
	Cluster string
	Node    string
	Dir     string            // belongs to one node and one agent at a time
	Labels  map[string]string // that the node declares
	Address string            // of the host, under which instances are reached
	Facts   events.Facts      // of the machine; Address and Version are filled in where they are missing
	Version string
	NATSURL string // exported to apps as GC_NATS_URL

	TTL    time.Duration // what the lease promises; at least MinTTL, default DefaultTTL
	Renew  time.Duration // between renewals; at most TTL/3, default DefaultRenew or TTL/3 if that is less
	Margin time.Duration // how long before the end of the TTL the node fences itself; default TTL/15, at least half a second

	NC     *nats.Conn
	Dial   func() (*nats.Conn, error) // a further connection like NC, which its user closes
	Driver Driver                     // not adopted yet; stays open
	// Addresses carries the VIPs of actives; nil: this agent carries none.
	Addresses Addresses
	// Replications carry the data of apps that want that, one of each kind.
	Replications []Replication
	// Metrics gets the node's own metrics while Run runs; nil: none.
	Metrics prometheus.Registerer
	Clock   Clock
	Log     *zap.Logger     // nil discards
	Load    func() api.Load // how busy the machine is; nil: unknown. Called at each renewal, must not block

	BootID string // of this boot of the machine; default the kernel's
	Host   string // for people: where the agent runs; default the machine's name
	// StopAppsOnExit stops every instance gracefully before Run returns because its context ended, renewing the lease meanwhile.
	// Without it the apps go on running for the next agent, fenced ones until the lease's deadline.
	StopAppsOnExit bool
	// LeaveOnExit ends the incarnation as well once every instance is stopped, so that nobody waits for its lease to run out. It
	// needs StopAppsOnExit.
	LeaveOnExit bool
	OnJoin      func() // called each time the node has joined; must not block. May be nil
}

// Clock is where the agent takes time from. Fields that are nil get the machine's clocks.
type Clock struct {
	Boot func() time.Duration // CLOCK_BOOTTIME, or a bubble's time in tests
	Now  func() time.Time     // wall clock, for people and for the expiry of requests
}

func (c Config) withDefaults() (Config, error) {
	fail := func(err error) (Config, error) { return Config{}, fmt.Errorf("agent: %w", err) }
	if err := errors.Join(spec.ValidateName("cluster", c.Cluster), spec.ValidateName("node", c.Node)); err != nil {
		return fail(err)
	}
	if c.Dir == "" || c.NC == nil || c.Dial == nil || c.Driver == nil {
		return fail(errors.New("directory, connection, dialler and driver are required"))
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.Renew == 0 {
		c.Renew = min(DefaultRenew, c.TTL/3)
	}
	if c.Margin == 0 {
		c.Margin = max(c.TTL/15, 500*time.Millisecond)
	}
	switch {
	case c.TTL < MinTTL:
		return fail(fmt.Errorf("lease TTL %s: want at least %s", c.TTL, MinTTL))
	case c.Renew <= 0 || c.Renew > c.TTL/3:
		return fail(fmt.Errorf("renewal every %s: want at most a third of the TTL of %s", c.Renew, c.TTL))
	case c.Margin < 0 || c.Margin > c.TTL/3:
		return fail(fmt.Errorf("margin %s: want at most a third of the TTL of %s", c.Margin, c.TTL))
	}
	if c.Clock.Boot == nil {
		c.Clock.Boot = transport.Boottime
	}
	if c.Clock.Now == nil {
		c.Clock.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Addresses == nil {
		c.Addresses = NoAddresses("this agent carries no addresses")
	}
	if c.Load == nil {
		c.Load = func() api.Load { return api.Load{} }
	}
	if c.Facts.Address == "" {
		c.Facts.Address = c.Address
	}
	if c.Facts.Version == "" {
		c.Facts.Version = c.Version
	}
	if c.Address == "" {
		c.Address = c.Facts.Address
	}
	c.Host = strings.TrimSpace(c.Host)
	c.Log = c.Log.With(zap.String("node", c.Node))
	return c, nil
}
