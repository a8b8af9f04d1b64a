// Package rebalancer proposes moves that even the cluster out: when somebody asks, and, if the policy lets it, when a node joined or
// went, at the ticks of an interval, or when a change made the cluster uneven. A proposal is an event; the planner carries it out by
// the same rules and guardrails as any other move, or lets it be where it no longer fits. The rebalancer says when all of it is done.
package rebalancer
