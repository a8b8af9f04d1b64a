//go:build !linux

package transport

import "time"

var started = time.Now()

// Boottime returns the time since the process started. Where there is no CLOCK_BOOTTIME a suspended machine's leases are not
// safe; nodes run on Linux.
func Boottime() time.Duration { return time.Since(started) }
