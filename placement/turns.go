package placement

import "slices"

// turns is a line of apps of which something has a place to go and waits until less is under way.
type turns struct {
	known   map[string]bool // by app: whether it is known that there is a place
	unknown int             // of those, how many are not
	line    []string        // in order; some have left
	fresh   []string        // joined since, in no order
	listed  map[string]bool // in line or fresh
}

func newTurns() turns { return turns{known: map[string]bool{}, listed: map[string]bool{}} }

func (t *turns) join(name string, known bool) {
	t.leave(name)
	t.known[name] = known
	if !known {
		t.unknown++
	}
	if !t.listed[name] {
		t.listed[name] = true
		t.fresh = append(t.fresh, name)
	}
}

func (t *turns) leave(name string) {
	if known, in := t.known[name]; in && !known {
		t.unknown--
	}
	delete(t.known, name)
}

// take returns the line, which is whoever asked's from then on.
func (t *turns) take() []string {
	line := t.line
	if len(t.fresh) > 64 {
		line = append(line, t.fresh...)
		slices.Sort(line)
	} else {
		for _, name := range t.fresh {
			at, _ := slices.BinarySearch(line, name)
			line = slices.Insert(line, at, name)
		}
	}
	t.line, t.fresh = nil, nil
	return line
}
