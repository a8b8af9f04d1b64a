package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// published is what the best of the 27 finalists reached in 300 s on two cores of 2012, and what S41, which won, reported of its own
// runs of 300 s; in the final it was further from the best (see rivals).
var published = []struct {
	name         string
	best, winner int64
}{
	{"b_1", 3339186879, 3353533859}, {"b_2", 1015553800, 1015569276}, {"b_3", 156835787, 157091678}, {"b_4", 4677823040, 4677962661},
	{"b_5", 923092380, 924769283}, {"b_6", 9525857752, 9525888445}, {"b_7", 14835149752, 14835258465}, {"b_8", 1214458817, 1214470739},
	{"b_9", 15885486698, 15885647774}, {"b_10", 18048515118, 18048493393},
}

// rivals are the sums of scores of finalists in the final over the eight instances of set b without b_7 and b_10.
var rivals = []struct {
	name  string
	score float64
}{{"S38", 0.171}, {"S41, the winner", 0.435}, {"J12", 0.979}, {"J17", 1.183}, {"J25", 1.427}}

// chosen is the names asked for, or what is there of set b.
func chosen(data string, names []string) []string {
	if len(names) > 0 {
		return names
	}
	for _, p := range published {
		if f, err := open(data, "b", "model_"+p.name+".txt"); err == nil {
			f.Close()
			names = append(names, p.name)
		}
	}
	return names
}

type table struct {
	out   io.Writer
	sum   float64
	names map[string]bool
	start time.Time
}

func (t *table) head() {
	t.names, t.start = map[string]bool{}, time.Now()
	fmt.Fprintf(t.out, "%-5s %12s %12s %12s %8s %8s %9s %9s %7s %7s\n", "", "initial", "cost", "best of 27", "score", "S41 own", "Msteps", "per cpu s", "clock s", "cpu s")
}

func (t *table) row(in *instance, initial, cost, steps int64, took, used time.Duration) {
	fmt.Fprintf(t.out, "%-5s %12d %12d ", in.name, initial, cost)
	best, score, winner := "-", "-", "-"
	for _, p := range published {
		if p.name == in.name {
			s := 100 * float64(cost-p.best) / float64(initial)
			best, score = fmt.Sprint(p.best), fmt.Sprintf("%.4f", s)
			winner = fmt.Sprintf("%.4f", 100*float64(p.winner-p.best)/float64(initial))
			t.sum += s
			t.names[p.name] = true
		}
	}
	fmt.Fprintf(t.out, "%12s %8s %8s %9.1f %9.2f %7.1f %7.1f\n", best, score, winner, float64(steps)/1e6, float64(steps)/1e6/used.Seconds(), took.Seconds(), used.Seconds())
}

func (t *table) foot() {
	fmt.Fprintf(t.out, "sum of scores %.3f over %d instances; load %s\n", t.sum, len(t.names), loadAverage())
	if len(t.names) == 8 && !t.names["b_7"] && !t.names["b_10"] {
		for _, r := range rivals {
			fmt.Fprintf(t.out, "  %-16s %.3f in 300 s, in the final\n", r.name, r.score)
		}
	}
}

// processorTime is what this process has used of all processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loadAverage is how busy the machine is: a score by time means little without it.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	for i, c := range b {
		if c == ' ' {
			return string(b[:i])
		}
	}
	return "unknown"
}
