package main

// appCommands is `go-cluster app`.
type appCommands struct {
	Move      appMove      `cmd:"" help:"Move an instance from one node to another."`
	Rebalance appRebalance `cmd:"" help:"Even out where an app's instances, or all apps', run."`
	Evacuate  appEvacuate  `cmd:"" help:"Move everything off the nodes that match a label selector."`
	Apply     appApply     `cmd:"" help:"Declare apps from a file and wait until they run."`
	Remove    appRemove    `cmd:"" help:"Stop an app and forget its declaration."`
	List      appList      `cmd:"" help:"List apps."`
	Show      appShow      `cmd:"" help:"Show an app, its instances and, while it is Pending, why."`
	Why       appWhy       `cmd:"" help:"Say why an app runs where it runs, back to the first cause."`
	WhyNot    appWhyNot    `cmd:"" help:"Say why an app does not run on a node, and what would change that."`
	Logs      appLogs      `cmd:"" help:"Print the output of an app's instances."`
	Restart   appRestart   `cmd:"" help:"Replace every instance of an app by a fresh one."`
}
