package agent

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
)

// hosted is the apps that concern this node, on stable storage: a wake-up is acknowledged only when its app is in here, so that
// an agent that dies right after it still looks at the app when it is back. It is safe for concurrent use.
type hosted struct {
	path string

	mu      sync.Mutex
	state   hostedState
	version uint64 // of what is to be written

	writing sync.Mutex // is held while the disk is waited for, and taken before mu
	written uint64     // version on stable storage
}

type hostedState struct {
	// Inc is the incarnation whose first orders have been looked for; see agent.scan.
	Inc string `json:"inc,omitzero"`
	// Apps has what becomes of each app without a lease (on_isolation), "" where its spec was never read here: it must be known
	// before the app's events have been read again.
	Apps map[string]string `json:"apps"`
}

func openHosted(dir string) (*hosted, error) {
	h := &hosted{path: filepath.Join(dir, "hosted.json")}
	if err := loadJSON(h.path, &h.state); err != nil {
		return nil, fmt.Errorf("hosted apps: %w", err)
	}
	if h.state.Apps == nil {
		h.state.Apps = map[string]string{}
	}
	return h, nil
}

// change applies f, and returns once the result is on stable storage if f returns true, or what an earlier call could not write. After
// an error the change counts until the agent ends, and the next call tries to write it. Several changes may share a write.
func (h *hosted) change(f func(*hostedState) bool) error {
	h.mu.Lock()
	if f(&h.state) {
		h.version++
	}
	want := h.version
	h.mu.Unlock()
	h.writing.Lock()
	defer h.writing.Unlock()
	if h.written >= want {
		return nil
	}
	h.mu.Lock()
	state, version := hostedState{Inc: h.state.Inc, Apps: maps.Clone(h.state.Apps)}, h.version
	h.mu.Unlock()
	if err := saveJSON(h.path, state); err != nil {
		return fmt.Errorf("hosted apps not written: %w", err)
	}
	h.written = version
	return nil
}

// Add notes that an app concerns this node.
func (h *hosted) Add(app string) error {
	return h.change(func(s *hostedState) bool {
		_, known := s.Apps[app]
		if !known {
			s.Apps[app] = ""
		}
		return !known
	})
}

// Remove notes that an app does not concern this node any more.
func (h *hosted) Remove(app string) error {
	return h.change(func(s *hostedState) bool {
		_, known := s.Apps[app]
		delete(s.Apps, app)
		return known
	})
}

// Isolate notes what becomes of the app's instances without a lease. Where their roles imply the same, as nearly always, and
// nothing else was noted before, it is written with the next change, at the latest with the Add of its app that is under way: it
// would keep the first step of each move waiting for the disk.
func (h *hosted) Isolate(app string, to string, implied bool) error {
	h.mu.Lock()
	was, known := h.state.Apps[app]
	later := was == to && known || was == "" && implied
	if later {
		if !known {
			h.version++
		}
		h.state.Apps[app] = to
	}
	h.mu.Unlock()
	if later {
		return nil
	}
	return h.change(func(s *hostedState) bool {
		s.Apps[app] = to
		return true
	})
}

// Isolation returns what Isolate noted, "" for nothing.
func (h *hosted) Isolation(app string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state.Apps[app]
}

// Scanned says whether the first orders of an incarnation have been looked for.
func (h *hosted) Scanned(inc string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state.Inc == inc
}

// MarkScanned notes that they have.
func (h *hosted) MarkScanned(inc string) error {
	return h.change(func(s *hostedState) bool {
		changed := s.Inc != inc
		s.Inc = inc
		return changed
	})
}

// Apps returns their names in order.
func (h *hosted) Apps() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	apps := make([]string, 0, len(h.state.Apps))
	for app := range h.state.Apps {
		apps = append(apps, app)
	}
	slices.Sort(apps)
	return apps
}
