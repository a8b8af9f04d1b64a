// Package cluster puts apps that live inside Go programs into a cluster. Each program that imports it is a node; it registers apps, and
// the control plane (go-cluster serve) decides where among the programs they run: on which nodes, how many, and when they move,
// because labels changed, by hand, for maintenance or to balance.
//
//	platform := cluster.NewPlatform("prod", "node-1", "nats://nats:4222")
//	scheduler := cluster.App("scheduler", cluster.Singleton(), cluster.OnLabel("role", "controller"))
//	scheduler.OnActive(func(ctx context.Context) error {
//		go run(ctx) // until it steps down
//		return nil
//	})
//	platform.Register(scheduler)
//	err := platform.Run(ctx) // until ctx ends
//
// # Functions of an app
//
// The functions of an instance are called one after the other, each within 30 s (HookTimeout), and may be called more than once. A
// panic in one is its error, not the end of the program. An error, a panic or a time-out of OnStart or OnActive means that the
// instance does not run here: it is tried elsewhere, and here again after a while. Of OnStandby and OnStop it is only logged. For each
// OnStart that succeeded there is one OnStop, whatever ended the instance.
//
//	a singleton   OnStart → OnStandby → OnActive → OnStandby → OnStop
//	a pool member OnStart → OnStop
//
// The context of OnStart ends when the instance is to leave, that of OnStandby and OnActive with the role. It says where and under which
// epoch the call was made: see Where and Epoch.
//
// # One writer
//
// At most one instance of a singleton has the right to write. Application.Fence tells whether that is this one, right now;
// Application.Write holds the right for as long as a function takes. It ends when the instance steps down, when a higher epoch was
// granted, and at the deadline of the node's lease, which is counted on CLOCK_BOOTTIME: a program that was stopped, or a machine that
// was suspended, finds it gone when it wakes up. A goroutine that never asks is not stopped by anybody.
//
// # Data
//
// Application.Log gives a singleton a write-ahead log that its state is made of. What Append has acknowledged is in the state of every later
// active, whether the one before stepped down, was cut off or is gone; an old active that wakes up stores nothing. No clock is involved.
//
// Package cluster/sqlite gives it a SQLite database instead: planned moves lose nothing, a takeover loses at most what was written in the
// moment before.
//
// # Hooks of a move
//
// OnMigrationStart is asked on the old node before anything is done and may refuse; OnMigrationComplete is told on the new one when all
// is done; OnPlacementInvalid is told when no node can take the app. What each of them answered is in the cluster's log.
//
// # Declarations
//
// What a program registers is declared to the cluster when it joins: apps with their rules, Labels, WithMigrationPolicy and
// WithAutoRebalance. Where programs of several releases run, the declaration that was seen first latest is in force, and the others are
// shown. UpdatePlacement, and what people change with the CLI, stays until something is declared that never was before.
//
// # Errors
//
// Every error of this package is an *Error, with a code and, where a rule stands in the way, every failing rule of every node; errors.Is
// tells them apart: ErrNotFound, ErrRefused, ErrPending, ErrVetoed, ErrFenced and so on. What is wrong with the options comes out of
// Run and of every call.
//
// # What it costs
//
// This package needs NATS and the control plane, and links neither a NATS server, nor SQLite, nor the CLI.
package cluster
