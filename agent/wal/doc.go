// Package wal is the write-ahead log of one app on a JetStream stream of its own: what is appended is stored before it counts, in one
// order, by one writer at a time. It carries the app's state to whoever is active next, and it is where the epoch is enforced.
//
// # One writer
//
// Every record is stored on the condition that nothing was stored since the newest one that its writer has applied. A new active
// begins its epoch by storing a record that says so. From then on the condition of whoever was active before cannot hold, however late
// its message arrives: it reads what was stored instead, finds the higher epoch, and is fenced. No clock is involved.
//
// # What an acknowledgement means
//
// Append returns nil once the record is stored by JetStream, exactly once, and applied here. Nothing that was acknowledged is ever
// missing in the state of a later active, planned or not: an active begins only after it has applied everything before its own first
// record. What ErrUnknown says of a record is that it may be in the log or not; it is never in it twice.
//
// # Snapshots
//
// After every so many records the active puts its state into a stream of its own, reads it back, and only then lets the records before
// it go. A snapshot is named after the record that it ends with and never replaced, so that one that comes late, from whoever was
// active before, harms nobody.
package wal
