package planted_test

import (
	"go/build"
	"os"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/invariants/planted"
)

// Each mistake has its tag and its law, and a build with a tag has that one and no other.
func TestTags(t *testing.T) {
	laws := map[string]bool{}
	for _, i := range invariants.All() {
		laws[i.Name] = false
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range planted.All() {
		if _, known := laws[m.Law]; !known {
			t.Errorf("%s: there is no law %s", m.Name, m.Law)
		}
		laws[m.Law] = true
		ctx := build.Default
		ctx.BuildTags = []string{"bug_" + m.Name}
		for _, f := range files {
			if f.Name() != "none.go" && !strings.HasPrefix(f.Name(), "bug_") {
				continue
			}
			in, err := ctx.MatchFile(".", f.Name())
			if err != nil {
				t.Fatal(err)
			}
			if want := f.Name() == "bug_"+m.Name+".go"; in != want {
				t.Errorf("tag bug_%s: %s is part of the build: %t", m.Name, f.Name(), in)
			}
		}
	}
	if n := len(files) - 3; n != len(planted.All()) {
		t.Errorf("%d tags for %d mistakes", n, len(planted.All()))
	}
	for name, covered := range laws {
		if !covered {
			t.Errorf("no mistake breaks the law %s", name)
		}
	}
	if planted.Name() != "" {
		t.Errorf("this build has %s", planted.Name())
	}
}
