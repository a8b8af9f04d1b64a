package auditor

import (
	"context"
	"fmt"
	"sort"
	"sync"
)

// keepEvents is how many of the newest events, and of the newest audited ones, are held in memory. Older ones are read from the
// stream.
const keepEvents = 50_000

// tail is the end of the log. It is safe for concurrent use. Entries are never changed once they are in.
type tail struct {
	keep int

	mu      sync.Mutex
	all     []entry // ordered by sequence; cut back to keep when twice as many
	audit   []entry // those of them that are audited, and older ones
	last    uint64
	changed chan struct{} // closed at the next entry
}

func newTail(keep int) *tail { return &tail{keep: keep, changed: make(chan struct{})} }

func (t *tail) add(e entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.seq <= t.last {
		return
	}
	t.last = e.seq
	t.all = t.push(t.all, e)
	if e.audited {
		t.audit = t.push(t.audit, e)
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *tail) push(s []entry, e entry) []entry {
	if len(s) == 2*t.keep {
		s = append(make([]entry, 0, 2*t.keep), s[t.keep:]...) // readers may hold the old array
	}
	return append(s, e)
}

// at returns the end of the log and a channel that is closed when there is more.
func (t *tail) at() (last uint64, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.changed
}

// from returns the entries from a sequence on, and the first sequence that is held.
func (t *tail) from(seq uint64) (held []entry, first uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return nil, t.last + 1
	}
	i := sort.Search(len(t.all), func(i int) bool { return t.all[i].seq >= seq })
	return t.all[i:], t.all[0].seq
}

// newest returns the audited entries that concern f, at most limit, in log order, and the end of the log as of the same moment.
func (t *tail) newest(limit int, f filter) (es []entry, last uint64) {
	t.mu.Lock()
	audit, last := t.audit, t.last
	t.mu.Unlock()
	var out []entry
	for i := len(audit) - 1; i >= 0 && len(out) < limit; i-- {
		if audit[i].concerns(f) {
			out = append(out, audit[i])
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, last
}

// await returns once the tail has reached seq.
func (t *tail) await(ctx context.Context, seq uint64) error {
	for {
		last, changed := t.at()
		if last >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the tail of the log is at %d and has not reached %d: %w", last, seq, ctx.Err())
		case <-changed:
		}
	}
}
