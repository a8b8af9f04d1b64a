//go:build linux

package litestream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/superfly/ltx"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
)

// openedPath is where it is written down which file the epoch began with, or was opened in it last: while nothing is shipped, and by the next agent, it is known
// by that whether another one is in its place, or none.
func openedPath(d agent.Data) string { return filepath.Join(d.Dir, "opened") }

// noteOpened writes down which file that is.
func noteOpened(d agent.Data, is os.FileInfo) error {
	path := openedPath(d)
	if err := os.WriteFile(path+".new", []byte(identity(is)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// begins writes down which file an epoch begins with, where there is one.
func begins(d agent.Data) error {
	is, err := os.Stat(d.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && is.Size() == 0 {
		if err := os.Remove(openedPath(d)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	return noteOpened(d, is)
}

// check says why there is nothing to be shipped: errAbsent where there never was a database, errVanished where there was one.
func (l *leading) check() error {
	err := l.r.head.check(l.d.Path)
	if !errors.Is(err, errAbsent) {
		return err
	}
	switch _, was := os.Lstat(openedPath(l.d)); {
	case errors.Is(was, fs.ErrNotExist):
		return err
	case was != nil:
		return was
	}
	return fmt.Errorf("%s: %w", l.d.Path, errVanished)
}

// identity tells a file from all others that there are.
func identity(is os.FileInfo) string {
	st, ok := is.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d\n", st.Dev, st.Ino)
}

// opens writes down which file is about to be opened, once nothing is left of another one. It returns whether there was another.
func (l *leading) opens(ctx context.Context, is os.FileInfo) (replaced bool, err error) {
	was, err := os.ReadFile(openedPath(l.d))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	case string(was) == identity(is):
		return false, nil
	default:
		replaced = true
		if err := l.replaced(ctx); err != nil {
			return false, err
		}
	}
	if err := os.MkdirAll(metaPath(l.d), 0o700); err != nil {
		return false, err
	}
	return replaced, noteOpened(l.d, is)
}

// replaced puts away what Litestream has of a database in whose place another one was put. It would go on with the pages of the one and the log of the
// other; without, it ships all pages of the new one next, unless the newest step in the store was shipped with the new one's log. Such a step is of both, and
// nobody's: it is taken back.
func (l *leading) replaced(ctx context.Context) error {
	salts, err := logSalts(l.d.Path)
	if err != nil {
		return err
	}
	for _, f := range slices.Backward(l.client.files.level(0, 1)) {
		if of, err := l.saltsOf(ctx, f); err != nil {
			return err
		} else if of != salts {
			break
		}
		if err := l.client.store.remove(ctx, f); err != nil {
			return err
		}
		l.client.files.drop(f.span)
	}
	if err := os.RemoveAll(filepath.Join(metaPath(l.d), "ltx")); err != nil {
		return err
	}
	l.log.Warn("the database was replaced by another one: all of it is shipped anew", zap.String("path", l.d.Path))
	l.mu.Lock()
	l.state.Resyncs++
	l.mu.Unlock()
	return nil
}

// logSalts returns what tells the log of a database from its earlier ones; zero where it has none.
func logSalts(path string) (salts [2]uint32, err error) {
	f, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return salts, nil
	}
	if err != nil {
		return salts, err
	}
	defer func() { _ = f.Close() }()
	var head [32]byte
	switch _, err := io.ReadFull(f, head[:]); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return salts, nil
	case err != nil:
		return salts, err
	}
	return [2]uint32{binary.BigEndian.Uint32(head[16:]), binary.BigEndian.Uint32(head[20:])}, nil
}

// saltsOf returns those of the log that a step was shipped of.
func (l *leading) saltsOf(ctx context.Context, f file) ([2]uint32, error) {
	content, err := l.client.store.get(ctx, f)
	if err != nil {
		return [2]uint32{}, err
	}
	defer func() { _ = content.Close() }()
	step := ltx.NewDecoder(content)
	if err := step.DecodeHeader(); err != nil {
		return [2]uint32{}, fmt.Errorf("%s: %w", f.name, err)
	}
	return [2]uint32{step.Header().WALSalt1, step.Header().WALSalt2}, nil
}
