//go:build linux

package process

import (
	"slices"
	"sync"
)

// notifier calls the registered functions from a goroutine of its own, so that they may call the driver and take locks under
// which the driver is called.
type notifier struct {
	mu      sync.Mutex
	funcs   []func(id string)
	pending []string // ids, each once, oldest change first
	running bool     // a goroutine empties pending
	closed  bool
}

func newNotifier() *notifier { return &notifier{} }

func (n *notifier) register(f func(id string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.funcs = append(n.funcs, f)
}

func (n *notifier) changed(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || slices.Contains(n.pending, id) {
		return
	}
	n.pending = append(n.pending, id)
	if !n.running {
		n.running = true
		go n.run()
	}
}

func (n *notifier) run() {
	for {
		n.mu.Lock()
		if len(n.pending) == 0 || n.closed {
			n.running = false
			n.mu.Unlock()
			return
		}
		id := n.pending[0]
		n.pending = n.pending[1:]
		funcs := n.funcs
		n.mu.Unlock()
		for _, f := range funcs {
			f(id)
		}
	}
}

// close drops what is pending. A call under way may still be going on afterwards.
func (n *notifier) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
}
