//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// Logs writes the output of an instance to w: the last lines of it, all that is kept where lines is negative, over the borders of
// log files and of starts. With follow it goes on until ctx ends, which is no error, or the instance is removed. It needs no
// Adopt and works for instances that have ended.
func (d *Driver) Logs(ctx context.Context, id string, lines int, follow bool, w io.Writer) error {
	if id == "" || id != filepath.Base(id) {
		return fmt.Errorf("logs of instance %q: not a valid id", id)
	}
	instance := filepath.Join(d.instancesDir(), id)
	if _, err := os.Stat(instance); err != nil {
		return fmt.Errorf("logs: instance %s is not known here", id)
	}
	c, err := openTail(filepath.Join(instance, watchdog.LogDir), lines)
	if err != nil {
		return fmt.Errorf("logs of %s: %w", id, err)
	}
	defer c.close()
	// Looking ten times a second costs a few system calls; a notification facility would cost one of the few instances of it that
	// a user may have.
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		if err := c.copy(ctx, w); err != nil {
			return fmt.Errorf("logs of %s: %w", id, err)
		}
		if !follow {
			return ctx.Err()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := os.Stat(instance); errors.Is(err, fs.ErrNotExist) {
			return c.rest(w) // what it wrote between the last look and its end is in the open file, which has lost its name only
		}
	}
}

// cursor is a place in the log of an instance. Each log file has a number: the one it got when it was full, or the one that the
// current file will get. A file with a number is complete.
type cursor struct {
	dir  string
	file *os.File // nil where the file was not there yet
	next int      // its number, or the one to open
}

// copy writes all there is from the cursor on.
func (c *cursor) copy(ctx context.Context, w io.Writer) error {
	for ctx.Err() == nil {
		if c.file == nil {
			opened, err := c.open(w)
			if err != nil || !opened {
				return err
			}
		}
		if _, err := io.Copy(w, c.file); err != nil {
			return err
		}
		full, err := c.full()
		if err != nil || !full {
			return err
		}
		if _, err := io.Copy(w, c.file); err != nil { // what came before the file was full
			return err
		}
		c.close()
		c.next++
	}
	return nil
}

// rest writes what is left of the open file, where the others are gone.
func (c *cursor) rest(w io.Writer) error {
	if c.file == nil {
		return nil
	}
	_, err := io.Copy(w, c.file)
	return err
}

// full reports whether the cursor's file has its number already.
func (c *cursor) full() (bool, error) {
	numbers, err := watchdog.RotatedLogs(c.dir)
	return err == nil && len(numbers) > 0 && numbers[len(numbers)-1] >= c.next, err
}

// open opens the file with the number next, or the oldest one after it that is kept; it reports false where there is none yet.
func (c *cursor) open(w io.Writer) (bool, error) {
	for {
		numbers, err := watchdog.RotatedLogs(c.dir)
		if err != nil {
			return false, err
		}
		for len(numbers) > 0 && numbers[0] < c.next {
			numbers = numbers[1:]
		}
		name, number := watchdog.LogCurrent, c.next
		if len(numbers) > 0 {
			name, number = strconv.Itoa(numbers[0]), numbers[0]
		}
		f, err := os.Open(filepath.Join(c.dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist) && name == watchdog.LogCurrent:
			if full, err := c.full(); full || err != nil {
				continue
			}
			return false, nil
		case errors.Is(err, fs.ErrNotExist):
			continue // it went meanwhile; a later one is the oldest now
		case err != nil:
			return false, err
		}
		c.file = f
		if name == watchdog.LogCurrent {
			// It may have been renamed, and have a successor, before it was opened.
			if full, err := c.full(); full || err != nil {
				c.close()
				if err != nil {
					return false, err
				}
				continue
			}
		}
		if number > c.next {
			if _, err := fmt.Fprintf(w, "[go-cluster: %d log files were removed before they were read]\n", number-c.next); err != nil {
				return false, err
			}
			c.next = number
		}
		return true, nil
	}
}

func (c *cursor) close() {
	if c.file != nil {
		_ = c.file.Close()
		c.file = nil
	}
}

// openTail returns a cursor at the beginning of the last lines, of everything where lines is negative. An unfinished line counts.
func openTail(dir string, lines int) (*cursor, error) {
	numbers, err := watchdog.RotatedLogs(dir)
	if err != nil {
		return nil, err
	}
	c := &cursor{dir: dir, next: 1}
	if len(numbers) > 0 {
		c.next = numbers[len(numbers)-1] + 1
	}
	if lines < 0 {
		if len(numbers) > 0 {
			c.next = numbers[0]
		}
		return c, nil
	}
	// Backwards from the current file, which may get its number meanwhile: it is opened by what it is then.
	for {
		wanted := c.next
		opened, err := c.open(io.Discard)
		if err != nil || c.next > wanted { // removed meanwhile: what is open is the oldest, from its beginning
			return c, err
		}
		if opened {
			offset, found, err := lastLines(c.file, lines)
			if err != nil {
				c.close()
				return nil, err
			}
			if _, err := c.file.Seek(offset, io.SeekStart); err != nil {
				c.close()
				return nil, err
			}
			if lines -= found; lines <= 0 {
				return c, nil
			}
		}
		if len(numbers) == 0 {
			return c, nil
		}
		c.close()
		c.next = numbers[len(numbers)-1]
		numbers = numbers[:len(numbers)-1]
	}
}

// lastLines finds the beginning of the last n lines of f and how many there are.
func lastLines(f *os.File, n int) (offset int64, found int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	end := info.Size()
	if n == 0 || end == 0 {
		return end, 0, nil
	}
	buf := make([]byte, 32<<10)
	for at := end; at > 0; {
		size := min(at, int64(len(buf)))
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil {
			return 0, 0, err
		}
		chunk := buf[:size]
		for {
			i := bytes.LastIndexByte(chunk, '\n')
			if i < 0 {
				break
			}
			// The line break that ends the file ends its last line and begins none.
			if at+int64(i) != end-1 {
				if found++; found == n {
					return at + int64(i) + 1, found, nil
				}
			}
			chunk = chunk[:i]
		}
	}
	return 0, found + 1, nil
}

// tail returns the last lines.
func tail(dir string, lines int) ([]byte, error) {
	c, err := openTail(dir, lines)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var out bytes.Buffer
	err = c.copy(context.Background(), &out)
	return out.Bytes(), err
}
