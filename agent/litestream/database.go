//go:build linux

package litestream

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// What a database can be instead of one that can be shipped.
var (
	errAbsent    = errors.New("it does not exist yet")
	errVanished  = errors.New("it was there and is not any more, or is empty: it has to be put back, or another one in its place")
	errNotSQLite = errors.New("it is not a SQLite database")
	errNotWAL    = errors.New("it is not in WAL mode: the app has to set PRAGMA journal_mode=WAL")
)

// headers keeps one descriptor of each database open for as long as anybody in this process may have it open: see the package's comment.
type headers struct {
	mu    sync.Mutex
	files map[string]*os.File
}

// check says why the database at path cannot be shipped as it is: errAbsent, or what is wrong with it.
func (h *headers) check(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errAbsent
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s: %w: it is no regular file", path, errNotSQLite)
	case st.Size() == 0:
		return errAbsent
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.files[path]
	if f != nil {
		if now, err := f.Stat(); err != nil || !os.SameFile(now, st) {
			_ = f.Close() // another file since: nobody's locks are on this one
			f = nil
		}
	}
	if f == nil {
		h.sweep()
		if f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0); err != nil {
			return err
		}
		h.files[path] = f
	}
	var head [20]byte
	if n, err := f.ReadAt(head[:], 0); err != nil && (n < len(head) || !errors.Is(err, io.EOF)) || string(head[:16]) != "SQLite format 3\x00" {
		return fmt.Errorf("%s: %w", path, errNotSQLite)
	}
	if head[18] != 2 || head[19] != 2 {
		return fmt.Errorf("%s: %w", path, errNotWAL)
	}
	return nil
}

// sweep lets go of databases that were deleted: the disk has their room for as long as they are open, and no lock on them counts.
func (h *headers) sweep() {
	for path, f := range h.files {
		st, err := f.Stat()
		if err != nil {
			continue
		}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Nlink == 0 {
			_ = f.Close()
			delete(h.files, path)
		}
	}
}

// close lets go of a database that nobody has open.
func (h *headers) close(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.files[path]; f != nil {
		_ = f.Close()
		delete(h.files, path)
	}
}

// openDB opens a database that exists. Its log is copied into it when that is asked for, and never by the way.
func openDB(path string) (*sql.DB, error) {
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=rw&_pragma=busy_timeout(2000)&_pragma=wal_autocheckpoint(0)"}).String())
}

// fold puts what the write-ahead log has into the database itself and removes it, as nobody uses either.
func fold(ctx context.Context, path string) (err error) {
	db, err := openDB(path)
	if err != nil {
		return err
	}
	var busy, frames, done int
	err = db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	if busy != 0 {
		return fmt.Errorf("checkpoint %s: somebody has it open", path)
	}
	for _, leftover := range []string{path + "-wal", path + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sound says what is wrong with a database that nobody uses.
func sound(ctx context.Context, path string) error {
	db, err := openDB(path)
	if err != nil {
		return err
	}
	var verdict string
	err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check %s: %s", path, verdict)
	}
	return fold(ctx, path)
}

// erase removes a database and what belongs to it.
func erase(path string) error {
	for _, p := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// entrust gives a database that was made here to whom its directory belongs.
func entrust(path string) error {
	st, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, int(sys.Uid), int(sys.Gid))
}
