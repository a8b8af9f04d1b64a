// Package flow solves the counting part of placement exactly: how many instances each node gets, under rules that say which app may
// go where, at most one instance of an app on a node, limits and weights of nodes.
//
// It is a convex minimum-cost flow from apps over nodes. The first stage (Even) finds the loads L with the least Σ L²/weight: it
// moves one instance at a time along a chain from the fullest node to one that is emptier by more than an instance, and closes what
// a node without such a chain can reach; what is closed keeps a level, and the levels are an optimal dual. The second stage (Keep)
// finds, among all assignments of that optimum or within given bounds, the one that keeps most instances where they are: successive
// shortest paths with blocking flows from the present assignment, which is dual feasible as it stands. The potentials of both
// stages are the certificate of the bound.
package flow
