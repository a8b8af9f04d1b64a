//go:build linux

package litestream

import (
	"os"
	"testing"
	"time"
)

// What a crash of the machine, or a full disk, has left of a copy is no reason to stand still for ever, or to bring the agent down: it
// is begun anew.
func TestTornCopyBeginsAnew(t *testing.T) {
	l := newLab(t)
	l.options = func(o *Options) { o.Interval = time.Hour }
	r1, d1 := l.Machine(t, "one")
	a := l.Open(t, d1)
	lead := l.lead(t, r1, d1, 1)
	a.Write(t, 1)
	p, err := lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, tear := range map[string]func(*os.File) error{
		"half a page":   func(f *os.File) error { return f.Truncate(6000) },
		"half a header": func(f *os.File) error { return f.Truncate(10) },
		"nothing":       func(f *os.File) error { return f.Truncate(0) },
		"zeros":         func(f *os.File) error { _, err := f.WriteAt(make([]byte, 100), 0); return err },
	} {
		t.Run(name, func(t *testing.T) {
			r2, d2 := l.Machine(t, name)
			f := l.follow(t, r2, d2, 1)
			if _, err := f.CatchUp(limit(t), p); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			file, err := os.OpenFile(d2.Path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := tear(file); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			a.Write(t, 2)
			p, err := lead.Sync(limit(t))
			if err != nil {
				t.Fatal(err)
			}
			if f = l.follow(t, r2, d2, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := f.CatchUp(limit(t), p); err != nil {
				t.Errorf("catch up: %v", err)
			}
		})
	}
}
