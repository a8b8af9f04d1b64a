package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever is typed is a command or a usage error that says so in text, and never a panic.
func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{"app move convex --from node-1 --to node-2", "node label node-2 role=compute zone-", "node drain node-1 --timeout 5m", "app evacuate --label zone=a",
		"policy set -f -", "events -f", "app apply -f x.yaml --dry-run", "migration show m-1", "why-not db node-1", "--cluster x --timeout 1h node list -o json", "serve all", "dev --nodes 3", "audit export", "-", "--", "app", "node label n1 a=b --if-revision 99999999999999999999"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		for _, a := range args {
			if a == "--version" || strings.HasPrefix(a, "-h") || strings.HasPrefix(a, "--h") || strings.Contains(a, "@") { // these end the process, or read files
				t.Skip()
			}
		}
		defer func() {
			if e := recover(); e != nil {
				if _, ends := e.(exited); !ends {
					panic(e)
				}
			}
		}()
		if _, _, err := parse(t, args...); err != nil && (err.Error() == "" || utf8.ValidString(line) && !utf8.ValidString(err.Error())) {
			t.Errorf("%q: %q", line, err)
		}
	})
}
