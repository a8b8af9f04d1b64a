// Package embedded is the driver of apps whose code is part of the agent's own program.
//
// # Life of an instance
//
// A standby is prepared by OnStart and OnStandby, and runs from then on. The active of an epoch is made by OnActive. The context
// of each of the two ends with the role; OnStandby follows when the active steps down, and OnStop when the instance leaves the node. A
// member of a pool has OnStart and OnStop only. Every function is called with a time limit, may be called more than once, and a panic in it is an error.
//
// # Write gate
//
// Nobody can end a goroutine from outside. What can be refused is the right to write: each active instance has a gate, open from
// before OnActive until its step-down ends, the lease's deadline passes, or a higher epoch is seen. The deadline is compared at each
// question, so that a program that was stopped for a while finds its gate closed whatever ran first when it woke up.
package embedded
