// Package projections is what is true: pure folds of the log. Cluster is the one fold that every service decides on; Replica
// (replica.go) is the loop that keeps one up to date. Folds use no clock but the stored timestamps of events, and equal logs
// make equal folds.
package projections
