package main

import (
	"errors"
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

// Only a test that fails says that something is missing.
func TestJudged(t *testing.T) {
	failed := errors.New("exit status 1")
	for _, c := range []struct {
		out  string
		err  error
		want outcome
	}{
		{"ok  \tx\t0.1s\n", nil, passes},
		{"ok  \tx\t0.1s [no tests to run]\n", nil, absent},
		{"--- FAIL: TestX (0.00s)\nFAIL\nFAIL\tx\t0.1s\n", failed, fails},
		{"panic: runtime error: index out of range\nFAIL\tx\t0.1s\n", failed, fails},
		{"# x\n./x.go:1: undefined: y\nFAIL\tx [build failed]\n", failed, unbuilt},
		{"FAIL\tx [setup failed]\n", failed, unbuilt},
		{"panic: test timed out after 5m0s\n\trunning tests:\nFAIL\tx\t300s\n", failed, late},
		{"--- FAIL: TestX (0.00s)\npanic: test timed out after 5m0s\nFAIL\tx\t300s\n", failed, late},
		{"signal: killed\nFAIL\tx\t0.1s\n", failed, breaks},
	} {
		if got := judged(c.out, c.err); got != c.want {
			t.Errorf("%q is judged as %q, want %q", c.out, got, c.want)
		}
	}
}
