//go:build linux

// Package journal is what the sample apps write down for whoever checks on them: which run of a program stored what, and when. A journal that
// several nodes share shows whether an app ever ran twice, or lost what it had stored.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	json "github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// Line says that something was stored. Boottime, in nanoseconds of CLOCK_BOOTTIME, is from before the line was written: lines of two
// processes on one machine can be put in order by it.
type Line struct {
	Node     string `json:"node"`
	Epoch    uint64 `json:"epoch"`
	PID      int    `json:"pid"`
	Boottime int64  `json:"boottime"`
	N        uint64 `json:"n"`
}

// Journal is a file of Lines, one JSON object each, appended to. The methods of a nil Journal do nothing.
type Journal struct{ file *os.File }

// Open opens a journal, made if missing, and returns the last number in it; without a name there is no journal. A last line without its
// newline was being written when its writer was killed: nobody has seen that number. It is ended, so that the next line stands on its own.
func Open(name string) (j *Journal, last uint64, err error) {
	if name == "" {
		return nil, 0, nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	tail, err := tailOf(f)
	if err != nil {
		return nil, 0, err
	}
	if len(tail) > 0 && tail[len(tail)-1] != '\n' {
		if _, err := f.Write([]byte("\n")); err != nil {
			return nil, 0, err
		}
	}
	whole := bytes.Split(tail, []byte("\n"))
	for i := len(whole) - 2; i >= 0; i-- { // what follows the last newline is no whole line
		var l Line
		if json.Unmarshal(whole[i], &l) == nil {
			return &Journal{f}, l.N, nil
		}
	}
	if len(tail) == maxTail {
		return nil, 0, fmt.Errorf("%s: no number in its last %d bytes", name, maxTail)
	}
	return &Journal{f}, 0, nil
}

const maxTail = 64 << 10

func tailOf(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from := max(0, info.Size()-maxTail)
	tail := make([]byte, info.Size()-from)
	n, err := f.ReadAt(tail, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return tail[:n], nil
}

// Append stamps the line and writes it, in one piece. After an error it may be there all the same.
func (j *Journal) Append(l Line) error {
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

// Sync returns once what was appended is on disk.
func (j *Journal) Sync() error {
	if j == nil {
		return nil
	}
	return j.file.Sync()
}

// Close ends the use of the journal.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}
