package cluster

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A program that ends between a move that deletes what is left behind and the deletion does it once it is back: of what it ran before it
// knows nothing but what the log says. Nothing else is deleted.
func TestLeftDataGoWithTheNextProgram(t *testing.T) {
	inBubble(t, func(w *world) {
		var mu sync.Mutex
		dirs := map[string]string{} // by node
		begin := func(node string) (p *Platform, stop func()) {
			p = w.platform(node)
			for _, name := range []string{"db", "kept"} {
				a := App(name, Singleton(), PreferNode("node-1", 100))
				a.OnActive(func(ctx context.Context) error {
					here, _ := Where(ctx)
					mu.Lock()
					defer mu.Unlock()
					dirs[name+" on "+node] = here.DataDir
					return os.WriteFile(filepath.Join(here.DataDir, "data"), []byte("x"), 0o600)
				})
				if err := p.Register(a); err != nil {
					t.Fatal(err)
				}
			}
			return p, w.run(p)
		}
		there := func(key string) bool {
			mu.Lock()
			defer mu.Unlock()
			_, err := os.Stat(filepath.Join(dirs[key], "data"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			return err == nil
		}
		p, stop := begin("node-1")
		w.on("db", "node-1")
		w.on("kept", "node-1")
		begin("node-2")
		for _, r := range []MoveRequest{{App: "db", ToNode: "node-2", DeleteLocal: true}, {App: "kept", ToNode: "node-2"}} {
			if err := p.MoveApp(w.ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		w.idle("the data of db are deleted", func() bool { return !there("db on node-1") })
		stop()
		if err := errors.Join(os.MkdirAll(dirs["db on node-1"], 0o700), os.WriteFile(filepath.Join(dirs["db on node-1"], "data"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		begin("node-1") // as if the one before had been killed a moment earlier
		w.idle("the data of db are deleted", func() bool { return !there("db on node-1") })
		if !there("kept on node-1") || !there("db on node-2") {
			t.Error("what was to stay is deleted")
		}
	})
}
