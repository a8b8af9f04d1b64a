//go:build linux

package watchdog

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Deadline is the agent's side of the file in which it extends the life of its fenced apps. It is safe for concurrent use.
type Deadline struct {
	file *os.File
	boot string
}

// OpenDeadline opens the file at path and creates it where there is none. Its content stays until the first Extend.
func OpenDeadline(path string) (*Deadline, error) {
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	d := &Deadline{file: f, boot: boot}
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		// The blocks are allocated now, while a full disk is still no more than a refusal to start.
		if err := d.Extend(0); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return d, nil
}

// Extend writes the deadline t, in CLOCK_BOOTTIME. It overwrites the same few bytes in place and not a new file that replaces
// the old one: on a full disk the apps of a healthy agent must not die. The value stands there twice, so that a reader notices
// a write that is under way.
func (d *Deadline) Extend(t time.Duration) error {
	_, err := d.file.WriteAt([]byte(encodeDeadline(t, d.boot)), 0)
	return err
}

// Close closes the file; the deadline stays.
func (d *Deadline) Close() error { return d.file.Close() }

func encodeDeadline(t time.Duration, boot string) string {
	return fmt.Sprintf("%020d %020d %s\n", int64(t), int64(t), boot)
}

// readDeadline reads the deadline for this boot; one that was written in another boot, on another count of time, is an error.
func readDeadline(path, boot string) (time.Duration, error) {
	const attempts = 100 // a write under way is over long before that
	for range attempts {
		data, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		var first, second int64
		var written string
		if _, err := fmt.Sscanf(string(data), "%d %d %s", &first, &second, &written); err != nil {
			return 0, fmt.Errorf("%s: no deadline: %q", path, strings.TrimSpace(string(data)))
		}
		if first != second {
			continue
		}
		if written != boot {
			return 0, fmt.Errorf("%s: deadline of another boot", path)
		}
		return time.Duration(first), nil
	}
	return 0, fmt.Errorf("%s: the two copies of the deadline differ", path)
}

// awaitDeadline returns once the deadline is over and nobody extended it.
func awaitDeadline(a *alarm, path, boot string, deadline time.Duration, warn func(error)) {
	for {
		switch d, err := readDeadline(path, boot); {
		case err != nil:
			warn(err) // the deadline known so far holds
		case d > deadline:
			deadline = d
		}
		if Boottime() >= deadline {
			return
		}
		if err := a.sleep(deadline); err != nil {
			warn(err)
			return // without a timer there is no fence; an early end is the safe side
		}
	}
}
