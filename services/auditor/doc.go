// Package auditor answers what happened: the log line by line, the part of it that an audit asks for, and the metrics that follow
// from it. It holds each event against the laws that always hold, and stores one thing: that one was broken. The hash chain is
// verified by the fold as well, event by event; an aggregate that breaks it is reported here, in the log of the process, in Detail
// and as gc_aggregates_quarantined.
package auditor
