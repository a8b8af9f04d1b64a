package litestream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/superfly/ltx"

	"github.com/go-cluster/go-cluster/agent"
)

// mark says what the database on this node is. It is written before that is so of a leader, and after it of a copy, so that what it
// says is never more than there is.
type mark struct {
	Incarnation string `json:"incarnation"`
	Epoch       uint64 `json:"epoch"`
	Led         bool   `json:"led,omitzero"` // whatever was written under Epoch is in it
	Seq         uint64 `json:"seq,omitzero"` // of a copy: it has everything up to here; of a leader: where it was when it had ended
	Ended       bool   `json:"ended,omitzero"`
	Checksum    string `json:"checksum,omitzero"` // where Ended
	Size        int64  `json:"size,omitzero"`     // of the database then, and when it was changed last: another one has been written since
	Changed     int64  `json:"changed,omitzero"`
	Given       bool   `json:"given,omitzero"` // somebody has put it here to go on with, and nobody has led it yet
}

func (m mark) of(h history) bool { return m.Incarnation == h.incarnation && m.Epoch == h.epoch }

func markPath(d agent.Data) string { return filepath.Join(d.Dir, "copy.json") }

// metaPath is where Litestream keeps what it has not shipped yet.
func metaPath(d agent.Data) string { return filepath.Join(d.Dir, "litestream") }

// markRoom is how long the file gets before it is replaced.
const markRoom = 4 << 10

// A mark is a line; the last one counts, so that to write one is to wait for the disk once. One that is not whole is of a writeMark that has not
// returned.
func readMark(d agent.Data) (mark, error) {
	raw, err := os.ReadFile(markPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, nil
	}
	if err != nil {
		return mark{}, err
	}
	m, _, err := lastMark(raw)
	if err != nil {
		return mark{}, fmt.Errorf("%s: %w", markPath(d), err)
	}
	return m, nil
}

// lastMark returns the last mark, and where it ends.
func lastMark(raw []byte) (m mark, end int64, err error) {
	err = errors.New("it has no mark")
	for at := int64(0); ; {
		line, rest, whole := bytes.Cut(raw, []byte{'\n'})
		if !whole {
			return m, end, err
		}
		at += int64(len(line)) + 1
		var one mark
		if bad := json.Unmarshal(line, &one); bad == nil {
			m, end, err = one, at, nil
		} else if end == 0 {
			err = bad
		}
		raw = rest
	}
}

// writeMark returns when the mark is on the disk.
func writeMark(d agent.Data, m mark) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	path := markPath(d)
	if done, err := appendMark(path, line); done || err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// appendMark writes a line behind the last one, unless there is none or no room.
func appendMark(path string, line []byte) (done bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	raw, err := io.ReadAll(f)
	if err != nil {
		return false, err
	}
	_, end, bad := lastMark(raw)
	if bad != nil || end+int64(len(line)) > markRoom {
		return false, nil
	}
	if _, err = f.WriteAt(line, end); err == nil {
		err = errors.Join(f.Truncate(end+int64(len(line))), f.Sync())
	}
	if err != nil { // it may be read and not be on the disk: who tries again must not find it done
		return false, errors.Join(err, f.Truncate(end))
	}
	return true, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// kept returns up to where Litestream has what was written here, shipped or not.
func kept(d agent.Data) (last uint64, err error) {
	files, err := os.ReadDir(filepath.Join(metaPath(d), "ltx", "0"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, f := range files {
		if _, to, err := ltx.ParseFilename(f.Name()); err == nil {
			last = max(last, uint64(to))
		}
	}
	return last, err
}
