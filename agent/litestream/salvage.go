//go:build linux

package litestream

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/superfly/ltx"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// Salvage implements agent.Replication.
func (r *Replication) Salvage(ctx context.Context, d agent.Data, terms []agent.Term) (agent.Salvaged, error) {
	m, err := readMark(d)
	if err != nil || !m.Led {
		return agent.Salvaged{}, err
	}
	at := slices.IndexFunc(terms, func(t agent.Term) bool { return t.Epoch == m.Epoch && t.Here })
	if n := len(terms); at < 0 && n > 0 && m.Epoch < terms[n-1].Epoch && !m.Ended { // the log does not remember it: the first that it does came after
		at = n
	}
	h, err := r.history(ctx, m.Epoch)
	if err != nil || at < 0 || !m.of(h) {
		return agent.Salvaged{}, err
	}
	var next *agent.Term
	for i := at - 1; i >= 0 && next == nil; i-- {
		if terms[i].Activated {
			next = &terms[i]
		}
	}
	if next == nil {
		return agent.Salvaged{}, nil // nobody went on without them
	}
	r.head.close(d.Path)
	path, done := d.Path, false
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		// Whoever set it aside may have ended before anybody was told.
		if path, _, err = newestAside(d, m); path == "" || err != nil {
			return agent.Salvaged{}, err
		}
		done = true
	} else if err != nil {
		return agent.Salvaged{}, err
	}
	s := agent.Salvaged{Epoch: m.Epoch, From: next.From, Found: events.Position{Epoch: m.Epoch, Seq: m.Seq}}
	whole, wal := size(path), size(path+"-wal")
	sum := m.Checksum
	if !m.Ended {
		if s.Found.Seq, err = kept(d); err != nil {
			return agent.Salvaged{}, err
		}
		if err := sound(ctx, path); err == nil {
			if sum, err = checksum(path); err != nil {
				return agent.Salvaged{}, err
			}
		}
	}
	if sum != "" && next.FromSum == sum || next.From == s.Found && (m.Ended || next.FromSum == "") {
		r.contained(d, m)
		return agent.Salvaged{}, nil
	}
	if s.Bytes, err = behind(d, s.From, m.Epoch); err != nil {
		return agent.Salvaged{}, err
	}
	if s.Found.Seq == 0 { // Litestream has seen nothing of it: all that is there is what nobody has
		s.Bytes = whole + wal
	} else if !m.Ended {
		s.Bytes += wal // what is shipped of it is counted twice: as much as it may be
	}
	if s.Path = path; !done {
		s.Path, err = r.putAside(ctx, d, m)
	}
	return s, err
}

// size is that of a file, 0 where there is none.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// behind returns how many bytes Litestream has kept of the steps of an epoch after a position.
func behind(d agent.Data, from events.Position, epoch uint64) (n int64, err error) {
	dir := filepath.Join(metaPath(d), "ltx", "0")
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	for _, f := range files {
		_, last, bad := ltx.ParseFilename(f.Name())
		if bad != nil || from.Epoch == epoch && uint64(last) <= from.Seq {
			continue
		}
		if info, err := f.Info(); err == nil {
			n += info.Size()
		}
	}
	return n, err
}
