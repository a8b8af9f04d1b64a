package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockDir takes the directory for this process; closing the file, or the process's end however it comes, gives it back.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "go-cluster.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		holder := make([]byte, 256)
		n, _ := f.ReadAt(holder, 0)
		_ = f.Close()
		if who := strings.TrimSpace(string(holder[:n])); who != "" {
			return nil, fmt.Errorf("the directory is in use by %s", who)
		}
		return nil, fmt.Errorf("the directory is in use by another process: %w", err)
	}
	host, _ := os.Hostname()
	who := fmt.Sprintf("process %d on %s since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	if err := f.Truncate(0); err != nil {
		_ = f.Close()
		return nil, err
	}
	if _, err := f.WriteAt([]byte(who), 0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// flock returns unix.EWOULDBLOCK when another holds the lock for longer than a second. One refusal is no proof: the locks of a
// process that was killed while it forked live on in the child until its exec.
func flock(f *os.File) error {
	const attempts = 100
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for n := 1; ; n++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || n == attempts {
			return err
		}
		<-again.C
	}
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
