package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScenarios lives through the scenarios of testdata: those written to be read, and those that seeds have found.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parse(path, string(text))
			if err != nil {
				t.Fatal(err)
			}
			live(t, s)
		})
	}
}

// A scenario that a seed makes up reads the same as a file.
func TestScenariosAsText(t *testing.T) {
	for k := range uint64(50) {
		s := schedule(k)
		again, err := parse(s.name, s.String())
		if err != nil {
			t.Fatal(err)
		}
		if again.String() != s.String() {
			t.Errorf("seed %d: %s\nbecomes\n%s", k, s, again)
		}
		for _, h := range s.steps {
			if h.verb == "apply" {
				if _, err := appOf(h.args); err != nil {
					t.Errorf("seed %d: %s: %v", k, h, err)
				}
			}
		}
	}
}

func TestScenarioErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "no node",
		"node n1\nnowhere":           "x:2: \"nowhere\" is neither",
		"node n1\n1s dance n1":       "unknown verb \"dance\"",
		"node n1\n1s":                "nothing happens at 1s",
		"node n1\n1s drain":          "drain takes a node",
		"node n1 zone":               "not key=value",
		"node n1\n1s apply a x=[":    "a bracket is open",
		"node n1\n1s behave a n1 \"": "a quote or a bracket",
		"services":                   "of which processes",
	} {
		if _, err := parse("x", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
