//go:build linux

package litestream

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
)

// Whoever stops looking at a store leaves nobody behind who waits to tell what is there.
func TestWatchEnds(t *testing.T) {
	l := newLab(t)
	s, err := New(Options{JS: l.js, Subjects: l.subjects}).openStore(limit(t), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 50 { // more than wait for who looks
		if _, err := s.put(limit(t), fmt.Sprint(n), strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	updates, stop, err := s.watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	<-updates
	for len(updates) < cap(updates) && t.Context().Err() == nil {
		runtime.Gosched()
	}
	cancel()
	stop()
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	if at := strings.Index(all.String(), "obs).Watch"); at >= 0 {
		t.Errorf("somebody waits: %.600s", all.String()[max(0, at-400):])
	}
}
