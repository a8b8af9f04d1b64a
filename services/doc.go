// Package services is what the five services share: one Base per process (log, fold, leases, clock) and one Core per service
// (its micro endpoints, its commands, its loop). The services themselves are packages below this one; they never import each
// other and meet only in the log.
package services
