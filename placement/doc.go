// Package placement decides where instances go. It is pure: a decision is a function of the fold, the load and the time, the
// same for any order in which nodes and apps are held, and nothing here logs, appends or waits.
//
// Plan is consistent as a set (a move in flight takes its place at both ends), idempotent, and a fixpoint once carried out: an
// instance stays where it is unless a rule forces it away or an order moves it.
package placement
