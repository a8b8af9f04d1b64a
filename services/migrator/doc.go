// Package migrator carries out admitted moves. Next is the whole decision, pure: from the fold, one migration and at most one
// thing that was heard of a node it makes the one event that comes next. Around it are a loop over the open migrations, the
// consumer of the nodes' step reports, and the reading of health and fenced epochs out of the leases.
//
// One decision is one event: the event that ends a step orders the next one. So a migration is never between two steps, and a
// migrator that dies at any point leaves nothing that another would have to finish.
package migrator
