package litestream

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// span is the part of a history that one file has. A file of level 0 is one step; levels above join many; snapshot has all.
type span struct {
	level       int
	first, last uint64
}

const snapshotLevel = 9

// file is an object of a history.
type file struct {
	span
	size   int64
	stored time.Time
	nuid   string
	chunks uint32
	name   string
}

// index is what is known of the files of one history. It is safe for concurrent use.
type index struct {
	mu    sync.Mutex
	files map[span]file
}

func newIndex(files []file) *index {
	x := &index{files: map[span]file{}}
	for _, f := range files {
		x.files[f.span] = f
	}
	return x
}

func (x *index) add(f file) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files[f.span] = f
}

func (x *index) drop(s span) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.files, s)
}

func (x *index) replace(files []file) {
	fresh := newIndex(files)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files = fresh.files
}

func (x *index) get(s span) (file, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f, ok := x.files[s]
	return f, ok
}

// level returns the files of a level from first on, in order.
func (x *index) level(level int, first uint64) []file {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []file
	for s, f := range x.files {
		if s.level == level && s.first >= first {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b file) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last)) })
	return out
}

// newest returns the file that reaches furthest; ok is false where there is none.
func (x *index) newest() (best file, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.files {
		if !ok || f.last > best.last || f.last == best.last && f.level < best.level {
			best, ok = f, true
		}
	}
	return best, ok
}

// next returns the file that takes a copy which has everything up to at the furthest; a copy at 0 has nothing. A whole database is
// fetched anew only where nothing smaller leads on.
func (x *index) next(at uint64) (best file, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	better := func(f file) bool {
		whole, bestWhole := f.first == 1 && at > 0, best.first == 1 && at > 0
		return whole != bestWhole && bestWhole || whole == bestWhole && (f.last > best.last || f.last == best.last && f.level > best.level)
	}
	for _, f := range x.files {
		if f.first <= at+1 && f.last > at && (!ok || better(f)) {
			best, ok = f, true
		}
	}
	return best, ok
}

// forget drops what a copy at at needs no more.
func (x *index) forget(at uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for s := range x.files {
		if s.last <= at {
			delete(x.files, s)
		}
	}
}
