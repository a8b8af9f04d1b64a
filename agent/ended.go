package agent

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/go-cluster/go-cluster/api"
)

// ended is the epochs that this node has ended by itself: fenced, or found with nothing running under them. Nothing is started
// under such an epoch again, and the lease lists it until the log says that it is over. It is safe for concurrent use.
type ended struct {
	path string

	mu    sync.Mutex
	list  []api.FencedEpoch
	dirty bool // list has not been written
}

func openEnded(dir string) (*ended, error) {
	e := &ended{path: filepath.Join(dir, "ended.json")}
	if err := loadJSON(e.path, &e.list); err != nil {
		return nil, fmt.Errorf("ended epochs: %w", err)
	}
	return e, nil
}

// Add notes that an epoch has ended: nothing runs under it. It counts from now on even when the error says that it could not be
// written down, in which case a later agent finds it out anew.
func (e *ended) Add(f ...api.FencedEpoch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range f {
		if !slices.Contains(e.list, f) {
			e.list, e.dirty = append(slices.Clip(e.list), f), true
		}
	}
	return e.save()
}

// Drop forgets those for which f returns true: the log knows their end.
func (e *ended) Drop(f func(api.FencedEpoch) bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(e.list), f)
	e.list, e.dirty = kept, e.dirty || len(kept) != len(e.list)
	return e.save()
}

// Has says whether the epoch of the instance has ended.
func (e *ended) Has(instance string, epoch uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.list, func(f api.FencedEpoch) bool { return f.Instance == instance && f.Epoch == epoch })
}

// All returns a copy of the list.
func (e *ended) All() []api.FencedEpoch {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

func (e *ended) save() error {
	if !e.dirty {
		return nil
	}
	if err := saveJSON(e.path, e.list); err != nil {
		return fmt.Errorf("ended epochs not written: %w", err)
	}
	e.dirty = false
	return nil
}
