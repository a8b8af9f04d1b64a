//go:build linux

package watchdog

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Boottime returns CLOCK_BOOTTIME: the time since the machine started, including the time it was suspended.
func Boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("read CLOCK_BOOTTIME: " + err.Error()) // the clock exists since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// alarm is a timer on CLOCK_BOOTTIME. Go's own timers stand still while the machine is suspended.
type alarm struct {
	fd   int
	file *os.File // owns fd
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

// sleep returns when CLOCK_BOOTTIME has reached t, at once when it has already.
func (a *alarm) sleep(t time.Duration) error {
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, int64(t)))} // zero would disarm
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &at, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err
}
