//go:build linux

package ledger

import (
	"os"
	"time"

	json "github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// Line says that an entry was stored. Boottime, in nanoseconds of CLOCK_BOOTTIME, is from before the line was written and after the
// commit: lines of two processes on one machine can be put in order by it.
type Line struct {
	Node     string `json:"node"`
	Epoch    uint64 `json:"epoch"`
	PID      int    `json:"pid"`
	Boottime int64  `json:"boottime"`
	N        uint64 `json:"n"`
}

// journal is a file of Lines, one JSON object each, appended to. The methods of a nil journal do nothing.
type journal struct{ file *os.File }

func openJournal(name string) (*journal, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{f}, nil
}

func (j *journal) append(l Line) error {
	if j == nil {
		return nil
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	l.Boottime = int64(time.Duration(ts.Sec)*time.Second + time.Duration(ts.Nsec))
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(b, '\n')) // one write: O_APPEND keeps lines whole
	return err
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}
