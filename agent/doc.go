// Package agent is the node side: it holds the node's lease, fences itself when it cannot renew it, and does the steps of
// migrations that name this node. Drivers do the running; the process driver is agent/process.
//
// # Right to act
//
// The agent acts only under a mandate: an incarnation of the node whose lease is held, until its deadline on CLOCK_BOOTTIME. The
// deadline is counted from before the sending of the last acknowledged renewal. Past it the agent first ends what must not run
// unwatched (fence.go), before it does, says or renews anything else; the watchdogs do the same if the agent cannot.
//
// # What to do
//
// Each app that concerns the node has a worker. It folds the app's events and those of the node's membership, compares them with what the driver
// runs, and does the one thing that comes next (assignment.go). Events addressed to the node only wake workers up. A step is
// done, written to the journal, and reported, in this order, so that an order seen twice is done once.
//
// # Files
//
// In the agent's directory: agent.lock (held while an agent uses it, with its process id), machine.json (who this is), epochs.json
// and epochs.log (highest epoch per app), ended.json (epochs ended without an order), hosted.json (apps that concern the node): all are
// on stable storage before anything that rests on them is said. The journal (results of steps) is of one boot of the machine and is
// only written: it outlives the agent, and no order outlives the boot.
package agent
