package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Flock takes the lock of a directory that belongs to one process at a time, on a file in it that is open. It returns
// unix.EWOULDBLOCK when another holds it for longer than a second: the locks of a process that was killed while it forked live on
// in the child until its exec, and a supervisor's restart may be faster than that.
func Flock(f *os.File) error {
	const attempts = 100
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for n := 1; ; n++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || n == attempts {
			return err
		}
		<-again.C
	}
}

// lockDir makes the directory this process's own until the file is closed or the process ends. The error names who has it.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "agent.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Flock(f); err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("%s is used by another agent, process %s", dir, strings.TrimSpace(string(pid)))
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil { // a lock that does not name its holder is a lock all the same, but a disk that takes nothing is of no use
		_ = f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return f, nil
}
