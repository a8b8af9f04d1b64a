//go:build linux

// Package counter is a sample singleton: a program that counts and must never do so twice at the same time. It knows nothing of
// go-cluster; it reads a few GC_ variables from its environment, as a program in any language would.
//
// With JOURNAL set, each number is on disk before anybody can read it, and the count goes on from the last line. A journal that
// several nodes share therefore shows whether the app was ever lost or ever ran twice.
package counter

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/examples/journal"
)

// Spec is the app as `go-cluster app apply -f` takes it.
//
//go:embed app.yaml
var Spec []byte

const defaultInterval = 200 * time.Millisecond

// counter is one run of the program. Its count belongs to one goroutine and is published to HTTP when it is stored.
type counter struct {
	node     string
	epoch    uint64
	interval time.Duration
	journal  *journal.Journal // nil without JOURNAL
	stored   atomic.Uint64
}

// Run counts and answers HTTP until ctx ends. It returns an error when it cannot listen or a number cannot be stored.
func Run(ctx context.Context, getenv func(string) string) error {
	c, err := newCounter(getenv)
	if err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	defer func() { _ = c.journal.Close() }()
	address := net.JoinHostPort(getenv("GC_ADDRESS"), getenv("GC_PORT_HTTP"))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	fmt.Printf("counter: on http://%s, epoch %d, from %d\n", listener.Addr(), c.epoch, c.stored.Load())
	server := &http.Server{Handler: c.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = c.count(ctx, served)
	fmt.Printf("counter: stops at %d\n", c.stored.Load())
	// Requests under way are short; whoever is still there after a second has stopped reading.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = server.Shutdown(last)
	return err
}

func newCounter(getenv func(string) string) (*counter, error) {
	c := &counter{node: getenv("GC_NODE"), interval: defaultInterval}
	if s := getenv("INTERVAL"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("INTERVAL %q: want a time such as 200ms", s)
		}
		c.interval = d
	}
	if s := getenv("GC_EPOCH"); s != "" {
		var err error
		if c.epoch, err = strconv.ParseUint(s, 10, 64); err != nil {
			return nil, fmt.Errorf("GC_EPOCH: %w", err)
		}
	}
	j, last, err := journal.Open(getenv("JOURNAL"))
	if err != nil {
		return nil, fmt.Errorf("JOURNAL: %w", err)
	}
	c.journal = j
	c.stored.Store(last)
	return c, nil
}

// count adds one at each tick until ctx ends or HTTP does.
func (c *counter) count(ctx context.Context, served <-chan error) error {
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return fmt.Errorf("counter: %w", err)
		case <-tick.C:
		}
		n := c.stored.Load() + 1
		err := c.journal.Append(journal.Line{Node: c.node, Epoch: c.epoch, PID: os.Getpid(), N: n})
		if err = cmp.Or(err, c.journal.Sync()); err != nil {
			return fmt.Errorf("counter: store %d: %w", n, err)
		}
		c.stored.Store(n)
	}
}

func (c *counter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		b, err := json.Marshal(struct {
			Node  string `json:"node"`
			Epoch uint64 `json:"epoch"`
			N     uint64 `json:"n"`
		}{c.node, c.epoch, c.stored.Load()})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(append(b, '\n')) // fails when the client has gone
	})
	return mux
}
