// Package auditor answers what happened: the log line by line, the part of it that an audit asks for, and the metrics that follow
// from it. It stores nothing. The hash chain is verified by the fold, event by event; an aggregate that breaks it is reported
// here, in the log of the process, in Detail and as gc_aggregates_quarantined.
package auditor
