// Package labeler is the registry of nodes: who has joined, which labels and cordons are on whom, who is silent and who is lost.
//
// It is the only writer of the node aggregate's membership, facts, labels and scheduling, and of the lease states closed and
// free. What silence means is a pure function (Judge) of the fold, of the leases as this process has seen them and of its own
// heartbeat; the loop carries its verdicts out one compare-and-append at a time. A verdict is derived anew from what is stored each
// time, so that any replica takes up what another left half done.
package labeler
