// Package search places items with several weighted demands on nodes by local search: annealing over shifts, swaps and ejection
// chains, from what runs where now. It knows no clock, no names and no globals; the same problem, seed and number of steps give
// the same result. What a caller must count beyond capacities, loads, limits, spread and prices is handed in as Rules and as
// functions of a Problem.
package search
