package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// instance is a problem of the challenge, in its own terms.
type instance struct {
	name       string
	resources  []resource
	machines   []machine
	services   []service
	processes  []process
	balances   []balance
	processFee int64
	serviceFee int64
	machineFee int64
	original   []int
}

type resource struct {
	transient bool
	weight    int64
}

type machine struct {
	neighborhood, location int
	capacity, safety       []int64
	fee                    []int64 // by target
}

type service struct {
	spread int
	needs  []int
}

type process struct {
	service int
	needs   []int64
	fee     int64
}

type balance struct {
	a, b           int
	target, weight int64
}

// numbers reads what the challenge's files consist of.
type numbers struct {
	s   *bufio.Scanner
	err error
}

func newNumbers(r io.Reader) *numbers {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 1<<16), 1<<20)
	s.Split(bufio.ScanWords)
	return &numbers{s: s}
}

func (n *numbers) next() int64 {
	if n.err != nil {
		return 0
	}
	if !n.s.Scan() {
		n.err = n.s.Err()
		if n.err == nil {
			n.err = io.ErrUnexpectedEOF
		}
		return 0
	}
	v, err := strconv.ParseUint(n.s.Text(), 10, 63)
	if err != nil {
		n.err = err
	}
	return int64(v)
}

func (n *numbers) int() int { return int(n.next()) }

// below is a number that names one of k things.
func (n *numbers) below(k int, what string) int {
	v := n.next()
	if n.err == nil && v >= int64(k) {
		n.err = fmt.Errorf("%s %d of %d", what, v, k)
	}
	if n.err != nil {
		return 0
	}
	return int(v)
}

// count is a number of things that each take at least one number of the file.
func (n *numbers) count(what string) int {
	v := n.next()
	if n.err == nil && v > 1<<20 {
		n.err = fmt.Errorf("%d %s", v, what)
	}
	if n.err != nil {
		return 0
	}
	return int(v)
}

func (n *numbers) list(k int) []int64 {
	out := make([]int64, k)
	for i := range out {
		out[i] = n.next()
	}
	return out
}

func read(model, assignment io.Reader) (*instance, error) {
	in := &instance{}
	n := newNumbers(model)
	in.resources = make([]resource, n.count("resources"))
	for i := range in.resources {
		in.resources[i] = resource{transient: n.next() == 1, weight: n.next()}
	}
	r := len(in.resources)
	in.machines = make([]machine, n.count("machines"))
	for i := range in.machines {
		in.machines[i] = machine{neighborhood: n.count("neighborhoods"), location: n.count("locations"), capacity: n.list(r), safety: n.list(r), fee: n.list(len(in.machines))}
		if n.err != nil {
			return nil, fmt.Errorf("model: machine %d: %w", i, n.err)
		}
	}
	in.services = make([]service, n.count("services"))
	for i := range in.services {
		in.services[i].spread = n.int()
		in.services[i].needs = make([]int, n.count("dependencies"))
		for j := range in.services[i].needs {
			in.services[i].needs[j] = n.below(len(in.services), "service")
		}
	}
	in.processes = make([]process, n.count("processes"))
	for i := range in.processes {
		in.processes[i] = process{service: n.below(len(in.services), "service"), needs: n.list(r), fee: n.next()}
	}
	in.balances = make([]balance, n.count("balances"))
	for i := range in.balances {
		in.balances[i] = balance{n.below(r, "resource"), n.below(r, "resource"), n.next(), n.next()}
	}
	in.processFee, in.serviceFee, in.machineFee = n.next(), n.next(), n.next()
	if n.err != nil {
		return nil, fmt.Errorf("model: %w", n.err)
	}
	n = newNumbers(assignment)
	in.original = make([]int, len(in.processes))
	for i := range in.original {
		in.original[i] = n.below(len(in.machines), "machine")
	}
	if n.err != nil {
		return nil, fmt.Errorf("assignment: %w", n.err)
	}
	return in, nil
}

// load finds an instance by name in a folder as the challenge's archives unpack, compressed or not.
func load(folder, name string) (*instance, error) {
	set, _, _ := strings.Cut(name, "_")
	model, err := open(folder, set[:1], "model_"+name+".txt")
	if err != nil {
		return nil, err
	}
	defer model.Close()
	assignment, err := open(folder, set[:1], "assignment_"+name+".txt")
	if err != nil {
		return nil, err
	}
	defer assignment.Close()
	in, err := read(model, assignment)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	in.name = name
	return in, nil
}

// open opens a file of a set, or of the folder itself.
func open(folder, set, name string) (io.ReadCloser, error) {
	for _, p := range []string{filepath.Join(folder, set, name), filepath.Join(folder, name)} {
		if f, err := os.Open(p); err == nil {
			return f, nil
		}
		f, err := os.Open(p + ".gz")
		if err != nil {
			continue
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s.gz: %w", p, err)
		}
		return struct {
			io.Reader
			io.Closer
		}{z, f}, nil
	}
	return nil, fmt.Errorf("no %s or %s.gz in %s or its %s: %w", name, name, folder, set, os.ErrNotExist)
}
