package litestream

import (
	"errors"
	"fmt"
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

func readMark(d agent.Data) (m mark, err error) {
	raw, err := os.ReadFile(markPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, nil
	}
	if err != nil {
		return mark{}, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return mark{}, fmt.Errorf("%s: %w", markPath(d), err)
	}
	return m, nil
}

func writeMark(d agent.Data, m mark) (err error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := markPath(d)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
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
