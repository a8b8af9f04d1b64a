package sim

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	child  = flag.Bool("sim.child", false, "this process lives through the seeds that another one has given it")
	procs  = flag.Int("sim.procs", runtime.GOMAXPROCS(0), "TestSeeds: processes side by side")
	within = flag.Duration("sim.for", 0, "TestSeeds: begin no more seeds after that long; 0: live through all")
	rounds = flag.Duration("sim.minimise", time.Minute, "TestSeeds: how long the first failing scenario is made smaller; 0: not at all")
)

const (
	batch   = 20              // seeds of one process
	longest = 2 * time.Minute // of one seed, in real time
)

// begin notes which seed begins; 0 is the end.
func begin(k uint64) {
	if watchdog != nil {
		watchdog.Stop()
	}
	fmt.Printf("\nsim: seed %d\n", k)
	if k > 0 {
		watchdog = time.AfterFunc(longest, func() { panic(fmt.Sprintf("sim: seed %d: no end within %s: time stands still", k, longest)) })
	}
}

var watchdog *time.Timer

// command runs this test binary once more. One processor each: what runs in a bubble hands work to and fro and gains nothing by
// a second one.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], append(args, "-test.timeout=0", "-sim.child")...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	return cmd
}

// inProcesses gives the seeds to processes and reports what failed.
func inProcesses(t *testing.T, from, count uint64) {
	began := time.Now()
	next, end := from, from+count
	var mu sync.Mutex
	var failed []uint64
	lived := uint64(0)
	var wg sync.WaitGroup
	for range *procs {
		wg.Go(func() {
			for {
				mu.Lock()
				a := next
				b := min(a+batch, end)
				next = b
				mu.Unlock()
				if a >= b || *within > 0 && time.Since(began) > *within {
					return
				}
				bad := liveIn(t, a, b)
				mu.Lock()
				failed, lived = append(failed, bad...), lived+b-a
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds from %d in %s, %d failed: %v", lived, from, time.Since(began).Truncate(time.Millisecond), len(failed), failed)
	if len(failed) > 0 && *rounds > 0 {
		keep(t, schedule(failed[0]))
	}
}

// liveIn has another process live through the seeds from a until before b. A process that dies takes only the seed that it was at.
func liveIn(t *testing.T, a, b uint64) (failed []uint64) {
	for a < b {
		cmd := command(context.Background(), "-test.run=^TestSeeds$", fmt.Sprint("-sim.from=", a), fmt.Sprint("-sim.seeds=", b-a))
		out, err := cmd.CombinedOutput()
		if err == nil {
			return failed
		}
		at := a
		for line := range bytes.Lines(out) {
			var k uint64
			if n, _ := fmt.Sscanf(string(line), "sim: seed %d", &k); n == 1 {
				if at = k; k == 0 {
					at = b
				}
			}
		}
		for _, m := range failing.FindAllSubmatch(out, -1) {
			var k uint64
			fmt.Sscan(string(m[1]), &k)
			failed = append(failed, k)
		}
		if at < b {
			failed = append(failed, at)
		}
		t.Errorf("seeds %v failed:\n%s", failed, out)
		a = at + 1
	}
	return failed
}

var failing = regexp.MustCompile(`(?m)^ +--- FAIL: TestSeeds/(\d+)`)

// story is a line that tells what happens in a scenario, and not what is wrong.
var story = regexp.MustCompile(`(runner|scenario)_test\.go:\d+: +(\d[0-9hmsµ.]*s|0s) `)

// verdict names what a failure is about: the laws that are broken, or the first thing that went wrong.
func verdict(out []byte) string {
	first := ""
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		line := s.Text()
		if _, rest, ok := strings.Cut(line, "violation "); ok {
			law, _, _ := strings.Cut(rest, ":")
			return law
		}
		for _, mark := range []string{"not settled", "time stands still", "events without end", "not conforming", "DATA RACE", "panic:", "_test.go:", "cluster.go:"} {
			if first == "" && strings.Contains(line, mark) && !story.MatchString(line) {
				first = mark
			}
		}
	}
	if first == "" {
		first = "unknown"
	}
	return first
}
