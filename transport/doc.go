// Package transport is how go-cluster's parts reach each other over NATS, besides the event log: commands and questions, leases,
// reports, wake-ups, the streams and durables under them, and the HTTP probes.
//
// Decisions never pass through here: appends belong to package events, because only they carry an expectation. Watermill carries
// the work (reports into the migrator, wake-ups into agents), where a message may come twice and in any order.
package transport
