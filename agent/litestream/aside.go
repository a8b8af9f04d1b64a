//go:build linux

package litestream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
)

// aside puts a database out of the way that is not known to be a copy of anything: it may be the last one of somebody's data.
func (r *Replication) aside(ctx context.Context, d agent.Data) error {
	m, err := readMark(d)
	if err != nil || m.Epoch > 0 && !m.Led {
		return err
	}
	r.head.close(d.Path)
	if _, err := os.Lstat(d.Path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	_, err = r.putAside(ctx, d, m)
	return err
}

// putAside renames a database, which nobody uses, and what belongs to it. Nothing that was set aside before is in its way, but for what others
// have: of that the newest is kept. A sound database is in one file then, and with that is renamed or not, wherever this ends.
func (r *Replication) putAside(ctx context.Context, d agent.Data, m mark) (to string, err error) {
	_ = sound(ctx, d.Path) // a damaged one is set aside as it is
	to = fmt.Sprintf("%s%s%d", d.Path, agent.AsideTail, m.Epoch)
	r.mu.Lock()
	spare := r.spare[d.Path] == m && m.Led
	r.mu.Unlock()
	if spare {
		if err := eraseSpares(d.Path); err != nil {
			return "", err
		}
		to += agent.SpareTail
	} else if before, n, err := newestAside(d, m); err != nil {
		return "", err
	} else if before != "" {
		to += "-" + strconv.Itoa(n+1)
	}
	for _, tail := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(d.Path+tail, to+tail); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	r.log.Warn("database set aside: another one is newer", zap.String("instance", d.Instance), zap.String("to", to), zap.Bool("spare", spare))
	return to, syncDir(filepath.Dir(d.Path))
}

// contained notes of the database of a mark that whoever went on has all that is in it.
func (r *Replication) contained(d agent.Data, m mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spare[d.Path] = m
}

// newestAside returns the database that was set aside last of those that led the epoch of a mark, and its number, from 1; "" for none.
func newestAside(d agent.Data, m mark) (path string, number int, err error) {
	files, err := os.ReadDir(filepath.Dir(d.Path))
	if err != nil {
		return "", 0, err
	}
	base := fmt.Sprintf("%s%s%d", filepath.Base(d.Path), agent.AsideTail, m.Epoch)
	for _, f := range files {
		n := 1
		if rest, is := strings.CutPrefix(f.Name(), base+"-"); is {
			if n, err = strconv.Atoi(rest); err != nil {
				continue // its log
			}
		} else if f.Name() != base {
			continue
		}
		if n > number {
			path, number = filepath.Join(filepath.Dir(d.Path), f.Name()), n
		}
	}
	return path, number, nil
}

// eraseSpares removes the copies of a database that were set aside though others have all that is in them.
func eraseSpares(path string) error {
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, f := range files {
		if name, is := strings.CutSuffix(f.Name(), agent.SpareTail); is && strings.HasPrefix(name, filepath.Base(path)+agent.AsideTail) {
			if err := erase(filepath.Join(filepath.Dir(path), f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
