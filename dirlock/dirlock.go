// Package dirlock makes a directory one process's own: an advisory lock that ends with the process, however that ends.
package dirlock

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

// HeldError says that another process has a directory.
type HeldError struct {
	Dir string
	Who string // what it wrote of itself; may be empty
}

func (e *HeldError) Error() string {
	if e.Who == "" {
		return e.Dir + " is in use by another process"
	}
	return e.Dir + " is in use by " + e.Who
}

// Take locks a directory that exists by a file in it, made with 0600 where it is missing, and writes who has it into that file. Closing
// what it returns gives it back. The error is a *HeldError when another has it.
func Take(dir, file, who string) (*os.File, error) {
	path := filepath.Join(dir, file)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 256))
		_ = f.Close()
		return nil, held(err, dir, strings.TrimSpace(string(holder)))
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(who+"\n"), 0)
	}
	if err != nil { // a lock that does not name its holder is a lock all the same, but a disk that takes nothing is of no use
		_ = f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return f, nil
}

// TakeItself locks the directory by nothing but itself: no file is made in it, and nobody is named.
func TakeItself(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, held(err, dir, "")
	}
	return f, nil
}

func held(err error, dir, who string) error {
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &HeldError{Dir: dir, Who: who}
	}
	return fmt.Errorf("lock %s: %w", dir, err)
}

// lock returns unix.EWOULDBLOCK when another holds the lock for longer than a second. One refusal is no proof: the locks of a process
// that was killed while it forked live on in the child until its exec, and a supervisor's restart may be faster than that.
func lock(f *os.File) error {
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
