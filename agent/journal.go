package agent

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
)

// What a journal keeps when it has become too long. An order is open until its report was judged, and the orders of a node come one by one
// for each app: one that is still open is never that far back.
const (
	journalKeep    = 1000
	journalCompact = 2 * journalKeep
)

// journal has the results of the steps that this node did in this boot of its machine, by the sequence of the order. The first line
// names the boot, each of the others has a report; all begin with a checksum. What dies with the boot is not waited for to reach the
// disk: an order names an incarnation, and none outlives its boot. It is safe for concurrent use.
type journal struct {
	path string
	head []byte // its first line

	mu     sync.Mutex
	file   *os.File
	size   int64    // of the complete lines
	broken error    // the end of the file is not known: nothing more can be written
	lines  []uint64 // orders that the lines are about, in their order
	byRef  map[uint64]api.StepReport
}

// openJournal reads the journal of the directory, or begins another when that is of an earlier boot. An incomplete last line is what
// is left of an Append that did not return, and is dropped; anything else that cannot be read is an error, because steps would be
// done again.
func openJournal(dir, boot string) (*journal, error) {
	path := filepath.Join(dir, "journal")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("journal: %w", err)
	}
	head := checked([]byte(boot))
	first, lines, whole := bytes.Cut(data, []byte{'\n'})
	_, err = content(first)
	switch ours := bytes.Equal(data[:min(len(head), len(data))], head); {
	case whole && err != nil && len(lines) > 0:
		return nil, fmt.Errorf("journal %s: line 1: %w, and it is not the last", path, err)
	case !ours:
		lines = nil
		if err := replaceFile(path, head); err != nil {
			return nil, fmt.Errorf("journal: begin: %w", err)
		}
	}
	reports, size, err := readJournal(lines)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &journal{path: path, head: head, file: f, size: size + int64(len(head)), byRef: make(map[uint64]api.StepReport, len(reports))}
	for _, r := range reports {
		j.lines, j.byRef[r.OrderSeq] = append(j.lines, r.OrderSeq), r
	}
	if err := errors.Join(f.Truncate(j.size), j.compact()); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), j.file.Close())
	}
	return j, nil
}

// compact drops the oldest reports of a journal that has become too long. After an error it is as it was.
func (j *journal) compact() error {
	if len(j.lines) <= journalCompact {
		return nil
	}
	lines, byRef, kept := slices.Clone(j.lines[len(j.lines)-journalKeep:]), make(map[uint64]api.StepReport, journalKeep), bytes.Clone(j.head)
	for _, seq := range lines {
		line, err := journalLine(j.byRef[seq])
		if err != nil {
			return err
		}
		kept, byRef[seq] = append(kept, line...), j.byRef[seq]
	}
	if err := replaceFile(j.path, kept); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_RDWR, 0o600)
	if err != nil { // what is written to the old file is lost with it
		j.broken = err
		return err
	}
	_ = j.file.Close()
	j.file, j.size, j.lines, j.byRef = f, int64(len(kept)), lines, byRef
	return nil
}

// readJournal returns the reports and the length of the complete lines.
func readJournal(data []byte) (reports []api.StepReport, size int64, err error) {
	rest := data
	for len(rest) > 0 {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		r, err := readLine(line)
		if !whole {
			return reports, size, nil // its Append did not return
		}
		if err != nil {
			if len(after) == 0 {
				return reports, size, nil // the last: its blocks reached the disk in another order
			}
			return nil, 0, fmt.Errorf("line %d, byte %d: %w, and it is not the last", len(reports)+1, size, err)
		}
		reports = append(reports, r)
		size += int64(len(line)) + 1
		rest = after
	}
	return reports, size, nil
}

func readLine(line []byte) (r api.StepReport, err error) {
	body, err := content(line)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

func journalLine(r api.StepReport) ([]byte, error) {
	body, err := json.Marshal(r, json.Deterministic(true)) // has no line break
	if err != nil {
		return nil, err
	}
	return checked(body), nil
}

// checked makes a line of a body without line breaks.
func checked(body []byte) []byte {
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(body), body)
}

// content returns the body of a line without its end.
func content(line []byte) ([]byte, error) {
	sum, body, ok := bytes.Cut(line, []byte{' '})
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || err != nil || len(sum) != 8 || uint32(want) != crc32.ChecksumIEEE(body) {
		return nil, errors.New("checksum does not match")
	}
	return body, nil
}

// Append returns once the report is written: it outlives this process, not the boot. After an error it is not in the journal, and
// may be found there by a later agent.
func (j *journal) Append(r api.StepReport) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("journal: order %d: %w", r.OrderSeq, err) }
	if j.broken != nil {
		return fail(j.broken)
	}
	line, err := journalLine(r)
	if err != nil {
		return fail(err)
	}
	if _, err = j.file.WriteAt(line, j.size); err != nil {
		// What was written must not stand before the next line.
		if cut := j.file.Truncate(j.size); cut != nil {
			j.broken = fmt.Errorf("left with a broken end: %w", cut)
		}
		return fail(err)
	}
	j.size += int64(len(line))
	j.lines, j.byRef[r.OrderSeq] = append(j.lines, r.OrderSeq), r
	_ = j.compact() // the report is written; where this fails the next one tries again, or says why nothing can be written
	return nil
}

// Get returns the report on an order.
func (j *journal) Get(order uint64) (api.StepReport, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, ok := j.byRef[order]
	return r, ok
}

// Close closes the file.
func (j *journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = errors.New("closed")
	}
	return j.file.Close()
}
