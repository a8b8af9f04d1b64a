// Command hunt proves the laws: it builds the cluster simulation once with each planted mistake, lets clusters live through random
// scenarios until the law that the mistake breaks is reported, and prints after how many seeds that was. Mistakes that random
// scenarios meet seldom have one made for them, and the model looks for those that no random scenario met. It exits 1 when a law did not
// catch its mistake in any of them.
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
	seeds := flag.Int("seeds", 100, "most random scenarios for one mistake")
	only := flag.String("only", "", "comma-separated names of mistakes; all by default")
	limit := flag.Duration("limit", 2*time.Minute, "of one mistake's random scenarios, and of the one made for it")
	protocol := flag.Bool("rules", false, "instead: run the test of each protocol rule on the code without it; it has to fail")
	flag.Parse()
	dir, err := os.MkdirTemp("", "hunt")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer os.RemoveAll(dir)
	if *protocol {
		if missed := hold(dir, *only); missed > 0 {
			fmt.Printf("%d rules are missed by nobody\n", missed)
			os.RemoveAll(dir)
			os.Exit(1) //nolint:gocritic // dir is removed above
		}
		return
	}
	h := hunter{bin: filepath.Join(dir, "sim.test"), seeds: *seeds, limit: *limit}
	escaped, all := 0, 0
	fmt.Printf("%-22s %-12s %-6s %-6s %-6s %s\n", "MISTAKE", "LAW", "SEEDS", "MADE", "MODEL", "ALSO REPORTED")
	for _, m := range planted.All() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), m.Name) {
			continue
		}
		all++
		f, err := h.hunt(m)
		if err != nil || f.seeds == 0 && !f.made && !f.model {
			escaped++
		}
		after := fmt.Sprint(f.seeds)
		if f.seeds == 0 {
			after = fmt.Sprintf(">%d", f.lived)
		}
		fmt.Printf("%-22s %-12s %-6s %-6s %-6s %s\n", m.Name, m.Law, after, yes(f.made), yes(f.model), strings.Join(f.also, " "))
		if err != nil {
			fmt.Println(err)
		}
	}
	fmt.Printf("%d of %d mistakes caught\n", all-escaped, all)
	if escaped > 0 {
		os.RemoveAll(dir)
		os.Exit(1) //nolint:gocritic // dir is removed above
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

type hunter struct {
	bin   string
	seeds int
	limit time.Duration
}

// found is where a mistake's law was reported.
type found struct {
	seeds int  // after how many random scenarios, 0: not by then
	lived int  // random scenarios lived through
	made  bool // in the scenario made for it
	model bool // by the model
	also  []string
}

func (h hunter) hunt(m planted.Mistake) (found, error) {
	build := exec.Command("go", "test", "-c", "-tags", "bug_"+m.Name, "-o", h.bin, "./sim")
	if out, err := build.CombinedOutput(); err != nil {
		return found{}, fmt.Errorf("build: %w\n%s", err, out)
	}
	var f found
	note := func(laws []string) (caught bool) {
		for _, l := range laws {
			if l == m.Law {
				caught = true
			} else if !slices.Contains(f.also, l) {
				f.also = append(f.also, l)
			}
		}
		slices.Sort(f.also)
		return caught
	}
	f.made = note(h.live("^TestHunt$", "-sim.hunt"))
	for end := time.Now().Add(h.limit); f.lived < h.seeds && time.Now().Before(end); {
		f.lived++
		if note(h.live("^TestHunt$", fmt.Sprint("-sim.from=", f.lived), "-sim.hunts=1")) {
			f.seeds = f.lived
			break
		}
	}
	f.model = f.seeds == 0 && note(h.live("^TestModel$", "-sim.model-for=20s"))
	return f, nil
}

// live runs scenarios and returns the laws that they broke. How they ended does not matter.
func (h hunter) live(test string, args ...string) (laws []string) {
	ctx, cancel := context.WithTimeout(context.Background(), h.limit)
	defer cancel()
	run := exec.CommandContext(ctx, h.bin, append(args, "-test.run", test)...)
	run.Dir, run.Env = filepath.Dir(h.bin), append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	out, _ := run.CombinedOutput()
	for line := range bytes.Lines(out) {
		if rest, ok := bytes.CutPrefix(line, []byte("violation ")); ok {
			_, rest, _ := bytes.Cut(rest, []byte(" "))
			if law, _, ok := strings.Cut(string(rest), ":"); ok && !slices.Contains(laws, law) {
				laws = append(laws, law)
			}
		}
	}
	return laws
}
