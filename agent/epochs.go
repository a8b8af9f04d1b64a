package agent

import (
	"fmt"
	"maps"
	"path/filepath"
	"sync"
)

// epochs is the highest epoch that this machine has seen of each app, on stable storage. It is never lowered, not even when the
// app is removed. It is safe for concurrent use.
type epochs struct {
	path string

	mu   sync.Mutex
	high map[string]uint64
}

func openEpochs(dir string) (*epochs, error) {
	e := &epochs{path: filepath.Join(dir, "epochs.json"), high: map[string]uint64{}}
	if err := loadJSON(e.path, &e.high); err != nil {
		return nil, fmt.Errorf("epochs: %w", err)
	}
	return e, nil
}

// Persist returns once the epoch is on stable storage. It refuses one below the highest of the app, and accepts that one again.
func (e *epochs) Persist(app string, epoch uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	high := e.high[app]
	switch {
	case epoch < high:
		return fmt.Errorf("epoch %d of %s is over: this node has seen epoch %d", epoch, app, high)
	case epoch == high:
		return nil
	}
	next := maps.Clone(e.high)
	next[app] = epoch
	if err := saveJSON(e.path, next); err != nil {
		return fmt.Errorf("epoch %d of %s not persisted: %w", epoch, app, err)
	}
	e.high = next
	return nil
}

// Highest returns the highest epoch seen of an app, 0 for none.
func (e *epochs) Highest(app string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.high[app]
}

// All returns a copy of them all.
func (e *epochs) All() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.high)
}
