package main

// nodeCommands is `go-cluster node`.
type nodeCommands struct {
	Drain      nodeDrain      `cmd:"" help:"Move everything off nodes, for maintenance."`
	Cordon     nodeCordon     `cmd:"" help:"Place nothing new on nodes; what runs there stays."`
	Uncordon   nodeUncordon   `cmd:"" help:"Let nodes take placements again."`
	Label      nodeLabel      `cmd:"" help:"Set (k=v) and remove (k-) labels of a node."`
	Show       nodeShow       `cmd:"" help:"Show a node's labels, state and instances."`
	List       nodeList       `cmd:"" help:"List nodes."`
	WaitStable nodeWaitStable `cmd:"" help:"Wait until nothing moves on, to or from a node and everything on it is healthy."`
	Lost       nodeLost       `cmd:"" help:"Vouch that a silent node's machine is off, so that its apps start elsewhere."`
	Remove     nodeRemove     `cmd:"" help:"Take a node out of the cluster."`
}
