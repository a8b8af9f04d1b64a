// Command hunt proves the laws: it builds the cluster simulation once with each planted mistake, lets clusters live until the law
// that the mistake breaks is reported, and prints after how many lives that was. It exits 1 when a law did not catch its mistake.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/invariants/planted"
)

func main() {
	runs := flag.Int("runs", 20, "most lives of a cluster for one mistake")
	only := flag.String("only", "", "comma-separated names of mistakes; all by default")
	limit := flag.Duration("limit", 2*time.Minute, "of one life")
	flag.Parse()
	dir, err := os.MkdirTemp("", "hunt")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer os.RemoveAll(dir)
	h := hunter{bin: filepath.Join(dir, "sim.test"), runs: *runs, limit: *limit}
	fmt.Printf("%-20s %-12s %-6s %s\n", "MISTAKE", "LAW", "LIVES", "ALSO REPORTED")
	for _, m := range planted.All() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), m.Name) {
			continue
		}
		after, also, err := h.hunt(m)
		switch {
		case err != nil:
			h.escaped++
			fmt.Printf("%-20s %-12s %-6s %v\n", m.Name, m.Law, "-", err)
		case after == 0:
			h.escaped++
			fmt.Printf("%-20s %-12s %-6s not within %d lives; reported: %s\n", m.Name, m.Law, "-", h.runs, strings.Join(also, " "))
		default:
			fmt.Printf("%-20s %-12s %-6d %s\n", m.Name, m.Law, after, strings.Join(also, " "))
		}
	}
	if h.escaped > 0 {
		fmt.Printf("%d mistakes escaped\n", h.escaped)
		os.RemoveAll(dir)
		os.Exit(1) //nolint:gocritic // dir is removed above
	}
}

type hunter struct {
	bin     string
	runs    int
	limit   time.Duration
	escaped int
}

// hunt returns after how many lives the law was reported, 0 for never, and the other laws reported by then.
func (h hunter) hunt(m planted.Mistake) (after int, also []string, err error) {
	build := exec.Command("go", "test", "-c", "-tags", "bug_"+m.Name, "-o", h.bin, "./sim")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	for n := 1; n <= h.runs; n++ {
		laws := h.live(n)
		for _, l := range laws {
			if l != m.Law && !slices.Contains(also, l) {
				also = append(also, l)
			}
		}
		if slices.Contains(laws, m.Law) {
			slices.Sort(also)
			return n, also, nil
		}
	}
	slices.Sort(also)
	return 0, also, nil
}

// live runs one life of a cluster and returns the laws that it broke. How it ended does not matter.
func (h hunter) live(n int) (laws []string) {
	ctx, cancel := context.WithTimeout(context.Background(), h.limit)
	defer cancel()
	run := exec.CommandContext(ctx, h.bin, "-test.run", "^TestHunt$", "-sim.hunt", fmt.Sprint(n))
	run.Dir = filepath.Dir(h.bin)
	out, _ := run.CombinedOutput()
	for line := range bytes.Lines(out) {
		if rest, ok := bytes.CutPrefix(line, []byte("violation ")); ok {
			if law, _, ok := strings.Cut(string(rest), ":"); ok && !slices.Contains(laws, law) {
				laws = append(laws, law)
			}
		}
	}
	return laws
}
