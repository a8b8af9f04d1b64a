package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/dirlock"
)

// lockDir takes the directory for this process; closing the file, or the process's end however it comes, gives it back.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	who := fmt.Sprintf("process %d on %s since %s", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	f, err := dirlock.Take(dir, "go-cluster.lock", who)
	var held *dirlock.HeldError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("the directory is in use by %s", cmp.Or(held.Who, "another process"))
	}
	return f, err
}

// storeLimit returns four fifths of what the file system has for the directory: what is free and what it already uses.
func storeLimit(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("file system of %s: %w", dir, err)
	}
	have := int64(fs.Bavail) * int64(fs.Bsize) // the types differ between systems
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			have += info.Size()
		}
		return nil
	})
	return have / 5 * 4, err
}
