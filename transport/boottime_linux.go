package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

// Boottime returns CLOCK_BOOTTIME: time since boot, pauses of the machine included. Go's own monotonic clock stands still while
// a machine is suspended, and a lease does not.
func Boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // exists since Linux 2.6.39; without it no deadline of ours means anything
	}
	return time.Duration(ts.Nano())
}
