package sim

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var file = flag.String("sim.file", "", "TestScenarioFile: the scenario to live through")

// TestScenarioFile lives through the scenario of a file.
func TestScenarioFile(t *testing.T) {
	if *file == "" {
		t.Skip("needs -sim.file")
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse(*file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	live(t, s)
}

// keep makes a failing scenario smaller and keeps it as a file beside those that are always tested; not where CI runs, which shows
// it only.
func keep(t *testing.T, s scenario) {
	m := minimiser{t: t, dir: t.TempDir(), deadline: time.Now().Add(*rounds)}
	if m.want = m.run(s); m.want == "" {
		t.Logf("%s does not fail every time; its scenario:\n%s", s.name, s)
		return
	}
	small := m.minimise(s)
	text := "# " + s.name + ", found by TestSeeds: " + m.want + "\n" + small.String()
	t.Logf("%s fails by %q; smaller, %d of %d events, it is\n%s", s.name, m.want, len(small.steps), len(s.steps), text)
	if os.Getenv("CI") != "" {
		return
	}
	path := filepath.Join("testdata", filepath.Base("found-"+s.name[len("seed "):]+".txt"))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Log(err)
		return
	}
	t.Logf("kept as sim/%s", path)
}

// minimiser looks for the smallest part of a scenario that fails in the same way.
type minimiser struct {
	t        *testing.T
	dir      string
	want     string // verdict
	deadline time.Time
}

// run lives through a scenario, twice where it does not fail at once, and returns the verdict, "" for none.
func (m *minimiser) run(s scenario) string {
	path := filepath.Join(m.dir, "scenario.txt")
	if err := os.WriteFile(path, []byte(s.String()), 0o600); err != nil {
		m.t.Fatal(err)
	}
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), longest)
		out, err := command(ctx, "-test.run=^TestScenarioFile$", "-sim.file="+path).CombinedOutput()
		cancel()
		if err != nil {
			return verdict(out)
		}
	}
	return ""
}

// minimise leaves out halves, quarters and so on of what happens, as long as what is left fails alike.
func (m *minimiser) minimise(s scenario) scenario {
	for parts := 2; len(s.steps) > 1 && time.Now().Before(m.deadline); {
		size := (len(s.steps) + parts - 1) / parts
		smaller := false
		for from := 0; from < len(s.steps) && time.Now().Before(m.deadline); from += size {
			less := s
			less.steps = slices.Concat(s.steps[:from], s.steps[min(from+size, len(s.steps)):])
			if m.run(less) == m.want {
				s, smaller = less, true
				break
			}
		}
		switch {
		case smaller:
			parts = max(parts-1, 2)
		case size == 1:
			return s
		default:
			parts = min(parts*2, len(s.steps))
		}
	}
	return s
}
