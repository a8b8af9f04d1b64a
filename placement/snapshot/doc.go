// Package snapshot is the cluster as data and a plan as data: the two documents that planning reads and writes without a cluster.
// They are plain values with their JSON; what they mean for placement is in placement/model.
package snapshot
