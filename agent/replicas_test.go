package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
)

// dirs is a driver whose instances have directories for their data.
type dirs struct {
	*simDriver
	root string
}

func (d dirs) DataDir(id string) string { return filepath.Join(d.root, id) }

func (d dirs) Remove(id string, deleteData bool) error {
	if deleteData {
		return os.RemoveAll(d.DataDir(id))
	}
	return nil
}

// What an app has left on a node is in its directory, and again in what is kept for its replication. With the data both go, unless something
// that nobody else has was set aside there.
func TestDataAreDeletedWhole(t *testing.T) {
	for _, c := range []struct {
		file   string
		delete bool
		stays  bool
	}{
		{"ledger.db", true, false},
		{"ledger.db", false, true},
		{"ledger.db.aside-e3", true, true},
	} {
		d := dirs{newSimDriver(func() time.Duration { return 0 }), t.TempDir()}
		r, _, err := newReplicas(Config{Driver: d, Dir: t.TempDir(), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		data, own := filepath.Join(d.DataDir("ledger-0"), c.file), filepath.Join(r.dir, "ledger-0", "litestream")
		for _, path := range []string{data, own} {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Remove("ledger-0", c.delete); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{data, own} {
			if _, err := os.Stat(path); os.IsNotExist(err) == c.stays {
				t.Errorf("delete the data %t with %s: %s: %v", c.delete, c.file, path, err)
			}
		}
	}
}
