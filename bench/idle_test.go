//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A dev cluster without apps, server and all: what it takes of a machine on which nothing happens. One run watches for ten seconds,
// after five in which what the start left behind is done.
func BenchmarkDevIdle(b *testing.B) {
	for _, nodes := range []int{3, 50} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			var all report
			for range b.N {
				all = devIdle(b, nodes, 5*time.Second, 10*time.Second)
			}
			measured(b, all)
		})
	}
}

func devIdle(tb testing.TB, nodes int, settle, watch time.Duration) (r report) {
	bin := filepath.Join(tb.TempDir(), "go-cluster")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/go-cluster").CombinedOutput(); err != nil {
		tb.Fatalf("build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "dev", "--nodes", strconv.Itoa(nodes), "--no-demo", "--nats-port", "0", "--http-port", "0", "--data-dir", tb.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	start := now()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		tb.Fatalf("dev said %q: %v\n%s", line, err, &stderr)
	}
	r.add("ready-ms", ms(now().Sub(start)))
	<-time.After(settle)
	before := cpuOf(tb, cmd.Process.Pid)
	start = now()
	<-time.After(watch)
	r.add("cpu-percent-of-a-core", 100*(cpuOf(tb, cmd.Process.Pid)-before).Seconds()/now().Sub(start).Seconds())
	r.add("rss-MiB", residentMiB(tb, cmd.Process.Pid))
	cancel()
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		tb.Fatal(err)
	}
	return r
}

// cpuOf returns what a process has used so far.
func cpuOf(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third
	var ticks int
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}

func residentMiB(tb testing.TB, pid int) float64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		tb.Fatal(err)
	}
	return float64(kib) / 1024
}
