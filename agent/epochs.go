package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// epochs is the highest epoch that this machine has seen of each app, on stable storage. It is never lowered, not even when the
// app is removed. It is safe for concurrent use.
//
// What was persisted since the file of them all was last written is in a log beside it: a line for each, so that a step waits for one
// short write.
type epochs struct {
	path string

	mu   sync.Mutex
	high map[string]uint64
	log  *os.File
	size int64 // of the complete lines of log
}

// epochsCompact is the size of the log, in bytes, from which on it is made part of the file.
const epochsCompact = 64 << 10

func openEpochs(dir string) (*epochs, error) {
	e := &epochs{path: filepath.Join(dir, "epochs.json"), high: map[string]uint64{}}
	fail := func(err error) (*epochs, error) { return nil, fmt.Errorf("epochs: %w", err) }
	if err := loadJSON(e.path, &e.high); err != nil {
		return fail(err)
	}
	logged := filepath.Join(dir, "epochs.log")
	data, err := os.ReadFile(logged)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		app, epoch, err := readEpoch(line)
		switch {
		case !whole || err != nil && len(rest) == 0: // its Persist did not return
			rest = nil
		case err != nil:
			return fail(fmt.Errorf("%s: %w, and it is not the last line", logged, err))
		default:
			e.high[app] = max(e.high[app], epoch)
		}
		data = rest
	}
	if e.log, err = os.OpenFile(logged, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fail(err)
	}
	if err := e.compact(); err != nil {
		return fail(errors.Join(err, e.log.Close()))
	}
	return e, nil
}

func readEpoch(line []byte) (app string, epoch uint64, err error) {
	body, err := content(line)
	if err != nil {
		return "", 0, err
	}
	app, n, _ := strings.Cut(string(body), " ")
	epoch, err = strconv.ParseUint(n, 10, 64)
	return app, epoch, err
}

// compact writes the file of them all, and then empties the log.
func (e *epochs) compact() error {
	if err := saveJSON(e.path, e.high); err != nil {
		return err
	}
	e.size = 0
	return e.log.Truncate(0)
}

// Persist returns once the epoch is on stable storage. It refuses one below the highest of the app, and accepts that one again.
func (e *epochs) Persist(app string, epoch uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("epoch %d of %s not persisted: %w", epoch, app, err) }
	high := e.high[app]
	switch {
	case epoch < high:
		return fmt.Errorf("epoch %d of %s is over: this node has seen epoch %d", epoch, app, high)
	case epoch == high:
		return nil
	}
	if e.size > epochsCompact {
		if err := e.compact(); err != nil {
			return fail(err)
		}
	}
	line := checked(fmt.Appendf(nil, "%s %d", app, epoch))
	// After an error the next line takes this one's place.
	if _, err := e.log.WriteAt(line, e.size); err != nil {
		return fail(err)
	}
	if err := e.log.Sync(); err != nil {
		return fail(err)
	}
	e.size += int64(len(line))
	e.high[app] = epoch
	return nil
}

// Close closes the log.
func (e *epochs) Close() error { return e.log.Close() }

// Highest returns the highest epoch seen of an app, 0 for none.
func (e *epochs) Highest(app string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.high[app]
}

// All returns a copy of them all.
func (e *epochs) All() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.high)
}
