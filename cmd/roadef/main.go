// Command roadef runs the placement search on instances of the ROADEF/EURO challenge 2012 and prints their scores.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/placement/search"
)

func main() {
	data := flag.String("data", "", "folder with the challenge's files, sets in a and b")
	budget := flag.Duration("time", 10*time.Second, "time for each instance")
	seed := flag.Uint64("seed", 1, "seed of the search")
	workers := flag.Int("workers", 2, "searches side by side")
	steps := flag.Int64("steps", 0, "moves tried by each worker, instead of a time: reproducible")
	names := flag.String("instances", "", "names separated by commas (default: set b, as far as it is there)")
	cpu := flag.Bool("cpu", false, "count the processor time of each worker instead of what the clock says: on a machine that others use, too")
	flag.Parse()
	if *data == "" {
		fmt.Fprintln(os.Stderr, "roadef: -data is missing: the folder with the challenge's files")
		os.Exit(2)
	}
	if err := run(*data, *names, *budget, *steps, *seed, *workers, *cpu); err != nil {
		fmt.Fprintln(os.Stderr, "roadef:", err)
		os.Exit(1)
	}
}

func run(data, names string, budget time.Duration, steps int64, seed uint64, workers int, cpu bool) error {
	var list []string
	if names != "" {
		list = strings.Split(names, ",")
	}
	t := &table{out: os.Stdout}
	t.head()
	for _, name := range chosen(data, list) {
		in, err := load(data, name)
		if err != nil {
			return err
		}
		initial, err := evaluate(in, in.original)
		if err != nil {
			return fmt.Errorf("%s: the original assignment: %w", name, err)
		}
		o := search.Options{Seed: seed, Workers: workers, Steps: steps}
		begin, used := time.Now(), processorTime()
		switch {
		case steps > 0:
		case cpu:
			o.Spent = func() float64 { return float64(processorTime()-used) / float64(budget*time.Duration(workers)) }
		default:
			o.Spent = func() float64 { return float64(time.Since(begin)) / float64(budget) }
		}
		r, err := search.Run(problem(in), o)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		took := time.Since(begin)
		cost, err := evaluate(in, r.At)
		if err != nil {
			return fmt.Errorf("%s: the result: %w", name, err)
		}
		if cost != r.Cost {
			return fmt.Errorf("%s: the search says cost %d, the evaluation %d", name, r.Cost, cost)
		}
		t.row(in, initial, cost, r.Steps, took, processorTime()-used)
	}
	t.foot()
	return nil
}
