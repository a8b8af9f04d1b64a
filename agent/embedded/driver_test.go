package embedded

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// What an earlier run of the program left of an instance goes when it is to go: nobody else would delete it.
func TestRemoveOfWhatIsNotKnown(t *testing.T) {
	o := Options{Dir: t.TempDir(), Apps: []App{{Name: "db"}}}
	d := New(o)
	in := agent.Instance{ID: "db-0", App: spec.App{Name: "db"}, Role: api.RoleMember}
	if _, err := d.Start(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove("db-0", true); err == nil {
		t.Error("one that runs was removed")
	}
	if _, err := os.Stat(d.DataDir("db-0")); err != nil {
		t.Fatal(err)
	}
	d = New(o)
	for _, id := range []string{"", ".", "..", "../db-0"} {
		if err := d.Remove(id, true); err == nil {
			t.Errorf("%q was removed", id)
		}
	}
	if err := d.Remove("db-0", false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.DataDir("db-0")); err != nil {
		t.Errorf("data that were to stay: %v", err)
	}
	if err := d.Remove("db-0", true); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.DataDir("db-0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("data that were to go: %v", err)
	}
}
