package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRules: what each rule leaves out is there, its tests are there, and the documentation has its number. That the tests fail
// without it is shown by make rules, which takes minutes.
func TestRules(t *testing.T) {
	docs, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		text, err := os.ReadFile(filepath.Join("../..", r.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), r.from); n != 1 {
			t.Errorf("rule %d (%s): %s has %q %d times", r.number, r.what, r.file, r.from, n)
		}
		if !strings.Contains(string(docs), fmt.Sprintf("\n| %d |", r.number)) {
			t.Errorf("rule %d (%s) is not in docs/testing.md", r.number, r.what)
		}
		files, err := filepath.Glob(filepath.Join("../..", r.pkg, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", r.pkg, err)
		}
		var tests []string
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(string(text), -1) {
				tests = append(tests, m[1])
			}
		}
		for _, want := range strings.Split(r.test, "|") {
			found := false
			for _, have := range tests {
				found = found || strings.HasPrefix(have, want)
			}
			if !found {
				t.Errorf("rule %d: %s has no test %s", r.number, r.pkg, want)
			}
		}
	}
}
