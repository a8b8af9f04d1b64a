// Package invariants holds the laws that a cluster's history obeys, whatever happens: one checker over the event log and over what
// the apps say of themselves. It shares nothing with the fold, the planner or the agents that it checks, so that a mistake in one
// of them cannot hide itself: it reads events, keeps a small state of its own, and knows no other package but the language.
//
// The checker is pure, incremental and total: each event is looked at once, in log order, and a log that breaks a law is read on.
// An aggregate that is damaged (malformed, a gap, a broken hash) is from there on only read for damage: the product ignores it too.
package invariants
