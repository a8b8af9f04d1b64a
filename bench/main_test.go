//go:build linux

// Package bench measures whole clusters, each figure beside a floor that is taken in the same run: the same messages through bare
// JetStream, the same program stopped and started by hand. Absolute figures are those of a machine, ratios those of the design.
//
// `go test ./bench` only shows that each of them runs; `make bench` measures. How often is -benchtime Nx, how many runs -count; at
// the end the median of each figure over the runs is printed.
package bench

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// The test binary is also the watchdog of the processes that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "watchdog" {
		os.Exit(watchdog.Main(os.Args[2]))
	}
	code := m.Run()
	printMedians()
	os.Exit(code)
}

// figure is one number of a run.
type figure struct {
	unit  string
	value float64
}

// report is what a measurement found.
type report []figure

func (r *report) add(unit string, value float64) { *r = append(*r, figure{unit, value}) }

// figures are those of every run.
var figures = runs{}

// runs has the figures of benchmarks, by name and unit.
type runs map[string]*run

type run struct {
	n      int // times that the newest report was of
	values map[string][]float64
}

// note keeps the report of a benchmark that was to do what it measures n times. The framework tries everything once before it does it more often, and
// does it more and more often where it is given a time; of one run the last report counts, which is the first where once is all that is asked
// for, or takes that time already.
func (rs runs) note(name string, n int, r report) {
	had := rs[name]
	if had == nil {
		had = &run{values: map[string][]float64{}}
		rs[name] = had
	}
	for _, f := range r {
		v := had.values[f.unit]
		if had.n > 0 && n > had.n && len(v) > 0 {
			v = v[:len(v)-1]
		}
		had.values[f.unit] = append(v, f.value)
	}
	had.n = n
}

// measured hands a report to the benchmark.
func measured(b *testing.B, r report) {
	b.ReportMetric(0, "ns/op") // hidden: setting up a cluster is in it
	for _, f := range r {
		b.ReportMetric(f.value, f.unit)
	}
	figures.note(b.Name(), b.N, r)
}

func printMedians() {
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		values := figures[name].values
		for _, unit := range slices.Sorted(maps.Keys(values)) {
			v := values[unit]
			slices.Sort(v)
			fmt.Printf("median %-44s %12.4g %-24s of %d, %.4g to %.4g\n", name, at(v, 0.5), unit, len(v), v[0], v[len(v)-1])
		}
	}
}

// Trials are no runs, and a run that is one trial is one.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		n    []int // times, report by report
		want []float64
	}{
		{[]int{1}, []float64{0}},                         // -benchtime 1x, or what takes longer than its time
		{[]int{1, 1, 1}, []float64{0, 1, 2}},             // the same, -count 3
		{[]int{1, 100}, []float64{1}},                    // -benchtime 100x
		{[]int{1, 100, 1, 100}, []float64{1, 3}},         // the same, -count 2
		{[]int{1, 7, 90, 1, 8, 88}, []float64{2, 5}},     // -benchtime 1s, -count 2
		{[]int{1, 1, 2, 1, 3, 1}, []float64{0, 2, 4, 5}}, // of about a second each
	} {
		rs := runs{}
		for i, n := range c.n {
			rs.note("x", n, report{{"ms", float64(i)}})
		}
		if got := rs["x"].values["ms"]; !slices.Equal(got, c.want) {
			t.Errorf("of %v there are %v, want %v", c.n, got, c.want)
		}
	}
}

// at returns the q-quantile of sorted samples.
func at[T cmp.Ordered](sorted []T, q float64) T {
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

// quantiles adds p50 and p99 of samples to a report, in ms.
func (r *report) quantiles(name string, samples []time.Duration) {
	slices.Sort(samples)
	r.add(name+"-p50-ms", ms(at(samples, 0.5)))
	r.add(name+"-p99-ms", ms(at(samples, 0.99)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ratio says how many times as long the samples take as those of the floor. All are sorted.
func (r *report) ratio(name string, samples, floor []time.Duration) {
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		r.add(name+"-"+q.name+"-x", float64(at(samples, q.q))/float64(at(floor, q.q)))
	}
}

// cpuTime is what this process has used so far. Unlike time it does not depend on who else uses the machine.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
