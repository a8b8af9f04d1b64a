package main

import "fmt"

// evaluate is the challenge's checker: the first hard constraint that an assignment breaks, or its exact cost. It shares nothing
// with the search.
func evaluate(in *instance, at []int) (int64, error) {
	if len(at) != len(in.processes) {
		return 0, fmt.Errorf("%d processes assigned of %d", len(at), len(in.processes))
	}
	type key struct{ service, where int }
	on, locations, neighborhoods := map[key]bool{}, map[key]bool{}, map[key]bool{}
	spread, moved := make([]int, len(in.services)), make([]int64, len(in.services))
	usage, leaving := make([][]int64, len(in.machines)), make([][]int64, len(in.machines))
	for m := range usage {
		usage[m], leaving[m] = make([]int64, len(in.resources)), make([]int64, len(in.resources))
	}
	var cost int64
	for p, pr := range in.processes {
		m, o := at[p], in.original[p]
		if m < 0 || m >= len(in.machines) {
			return 0, fmt.Errorf("process %d: no machine %d", p, m)
		}
		if on[key{pr.service, m}] {
			return 0, fmt.Errorf("conflict: two processes of service %d on machine %d", pr.service, m)
		}
		on[key{pr.service, m}] = true
		if l := (key{pr.service, in.machines[m].location}); !locations[l] {
			locations[l] = true
			spread[pr.service]++
		}
		neighborhoods[key{pr.service, in.machines[m].neighborhood}] = true
		for r, need := range pr.needs {
			usage[m][r] += need
			if m != o {
				leaving[o][r] += need
			}
		}
		if m != o {
			cost += in.processFee * pr.fee
			moved[pr.service]++
		}
		cost += in.machineFee * in.machines[o].fee[m]
	}
	for m, ma := range in.machines {
		for r, re := range in.resources {
			held := usage[m][r]
			if re.transient {
				held += leaving[m][r]
			}
			if held > ma.capacity[r] {
				return 0, fmt.Errorf("capacity: machine %d holds %d of resource %d, can %d", m, held, r, ma.capacity[r])
			}
			cost += re.weight * max(0, usage[m][r]-ma.safety[r])
		}
		for _, b := range in.balances {
			cost += b.weight * max(0, b.target*(ma.capacity[b.a]-usage[m][b.a])-(ma.capacity[b.b]-usage[m][b.b]))
		}
	}
	var most int64
	for s, se := range in.services {
		if spread[s] < se.spread {
			return 0, fmt.Errorf("spread: service %d in %d locations, needs %d", s, spread[s], se.spread)
		}
		most = max(most, moved[s])
	}
	for p, pr := range in.processes {
		for _, d := range in.services[pr.service].needs {
			if nb := in.machines[at[p]].neighborhood; !neighborhoods[key{d, nb}] {
				return 0, fmt.Errorf("dependency: process %d of service %d in neighborhood %d, where no process of service %d is", p, pr.service, nb, d)
			}
		}
	}
	return cost + in.serviceFee*most, nil
}
