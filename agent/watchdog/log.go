//go:build linux

package watchdog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Log files. The app's output, as it is, goes to log/current of the instance directory. A full file gets the next number as its
// name (log/1, log/2, …; never used twice) and a new current begins, at the end of a line where there is one. The files with the
// lowest numbers go. A reader that knows the number of a file therefore knows which one follows.
const (
	LogDir     = "log"
	LogCurrent = "current"

	DefaultLogSize = 10 << 20 // bytes of a full log file
	DefaultLogKeep = 3        // log files of an instance, the current one among them

	longestLine = 64 << 10 // bytes beyond the size after which a file is rotated in the middle of a line
)

// LogLimits bounds the log files of an instance. Zero fields stand for the defaults.
type LogLimits struct {
	Size int64 `json:"size,omitzero"`
	Keep int   `json:"keep,omitzero"` // two at least are kept
}

// RotatedLogs returns the numbers of the full log files in dir, oldest first.
func RotatedLogs(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// logWriter writes the log files. It never blocks the app for want of space: what cannot be written is dropped and counted, and
// the loss is noted in the log once writing works again. It belongs to one goroutine.
type logWriter struct {
	dir    string
	limits LogLimits
	file   *os.File // nil while it cannot be opened
	size   int64
	// lineEnd tells whether the last byte written ended a line.
	lineEnd bool
	lost    int64 // bytes dropped and not noted in the log yet
	cause   error // why the last of them were
}

func newLogWriter(dir string, limits LogLimits) (*logWriter, error) {
	limits.Size = cmp.Or(limits.Size, DefaultLogSize)
	limits.Keep = cmp.Or(limits.Keep, DefaultLogKeep)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &logWriter{dir: dir, limits: limits}
	return w, w.open()
}

func (w *logWriter) open() error {
	f, err := os.OpenFile(filepath.Join(w.dir, LogCurrent), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	w.file, w.size, w.lineEnd = f, info.Size(), true // what was left in the middle of a line is not continued
	return nil
}

// Write implements io.Writer; it always takes all of p.
func (w *logWriter) Write(p []byte) (int, error) {
	if w.lost > 0 {
		note := fmt.Sprintf("[go-cluster: %d bytes of output lost: %v]\n", w.lost, w.cause)
		if _, err := w.append([]byte(note)); err == nil {
			w.lost = 0
		}
	}
	for rest := p; len(rest) > 0; {
		n := w.fitting(rest)
		if n == 0 {
			if err := w.rotate(); err != nil {
				w.drop(len(rest), err)
				break
			}
			continue
		}
		if written, err := w.append(rest[:n]); err != nil {
			w.drop(n-written, err)
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// fitting returns how many bytes of p belong in the current file; 0 means that it is full. The line during which a file reaches
// its size is the last one in it, unless that line does not end.
func (w *logWriter) fitting(p []byte) int {
	if w.size+int64(len(p)) <= w.limits.Size {
		return len(p)
	}
	atMost := w.limits.Size + longestLine - w.size
	if w.size >= w.limits.Size && (w.lineEnd || atMost <= 0) {
		return 0
	}
	n := len(p)
	from := int(max(0, w.limits.Size-w.size-1)) // the byte that makes the file full
	if end := bytes.IndexByte(p[from:], '\n'); end >= 0 {
		n = from + end + 1
	}
	return int(min(int64(n), atMost))
}

func (w *logWriter) append(p []byte) (int, error) {
	if w.file == nil {
		if err := w.open(); err != nil {
			return 0, err
		}
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	if n > 0 {
		w.lineEnd = p[n-1] == '\n'
	}
	return n, err
}

func (w *logWriter) drop(n int, err error) {
	w.lost += int64(n)
	w.cause = err
}

// rotate gives the current file its number and removes the oldest ones. Readers may hold them open.
func (w *logWriter) rotate() error {
	numbers, err := RotatedLogs(w.dir)
	if err != nil {
		return err
	}
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	if w.file != nil {
		_ = w.file.Close() // all is written
		w.file = nil
	}
	err = os.Rename(filepath.Join(w.dir, LogCurrent), filepath.Join(w.dir, strconv.Itoa(next)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// After the renaming: the highest number is in use at all times, so that no number comes back.
	for numbers = append(numbers, next); len(numbers) >= w.limits.Keep && len(numbers) > 1; numbers = numbers[1:] {
		if err := os.Remove(filepath.Join(w.dir, strconv.Itoa(numbers[0]))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return w.open()
}
