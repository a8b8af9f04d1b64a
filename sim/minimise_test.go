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
	m.fails = m.run
	if m.want = m.fails(s); m.want == "" {
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
	want     string                // verdict
	fails    func(scenario) string // the verdict on one, "" for none
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

// minimise leaves out halves, quarters and so on of what happens, as long as what is left fails alike. What is wanted at the end stays:
// without it the file would not say any more, once the fault is mended, whether the cluster comes to rest.
func (m *minimiser) minimise(s scenario) scenario {
	end := ending(s.steps)
	happens, wanted := s.steps[:end], s.steps[end:]
	for parts := 2; len(happens) > 0 && time.Now().Before(m.deadline); {
		size := (len(happens) + parts - 1) / parts
		smaller := false
		for from := 0; from < len(happens) && time.Now().Before(m.deadline); from += size {
			less, rest := s, slices.Concat(happens[:from], happens[min(from+size, len(happens)):])
			less.steps = slices.Concat(rest, wanted)
			if m.fails(less) == m.want {
				s, happens, smaller = less, rest, true
				break
			}
		}
		switch {
		case smaller:
			parts = max(parts-1, 2)
		case size == 1:
			return s
		default:
			parts = min(parts*2, len(happens))
		}
	}
	return s
}

// ending returns where what is wanted at the end begins: after the last thing that happens, with what makes all well.
func ending(steps []happening) int {
	i := len(steps)
	for i > 0 {
		switch steps[i-1].verb {
		case "well", "steady", "conformance", "balance", "expect", "migrations", "written":
			i--
		default:
			return i
		}
	}
	return i
}

// A scenario is made smaller to what it fails by, and what is wanted at its end is kept.
func TestMinimise(t *testing.T) {
	s, err := parse("x", "node n1\n1s apply a mode=singleton\n2s cut n1\n3s kill s1\n4s freeze\n5s start s1\n6s heal n1\n7s rebalance\n7s well\n7s steady\n7s conformance")
	if err != nil {
		t.Fatal(err)
	}
	culprit := s.steps[4]
	m := minimiser{t: t, want: "law", deadline: time.Now().Add(time.Minute)}
	m.fails = func(s scenario) string {
		if slices.ContainsFunc(s.steps, func(h happening) bool { return h.String() == culprit.String() }) {
			return "law"
		}
		return ""
	}
	small := m.minimise(s)
	want := append([]happening{culprit}, s.steps[len(s.steps)-3:]...)
	if got := small.String(); got != (scenario{nodes: s.nodes, services: s.services, programs: s.programs, steps: want}).String() || !small.rests() {
		t.Errorf("left is\n%s", got)
	}
	m.fails = func(scenario) string { return "law" }
	if small := m.minimise(s); len(small.steps) != 3 || !small.rests() {
		t.Errorf("of what fails always there is left\n%s", small)
	}
}
