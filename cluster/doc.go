// Package cluster puts apps that live inside a Go program into a cluster: they move between the programs that register them when
// labels change, by hand, for maintenance or to balance.
package cluster
