//go:build linux

package process

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// giveDataDir makes the data directory and gives it, with all in it, to the app's user: a restored database was written by the
// agent. Nothing of the app may run. The content is the app's, so names in it are not trusted: no symbolic link is followed,
// and a file with a second name, which may lie outside, keeps its owner.
func giveDataDir(dir string, c *watchdog.Credential) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if c == nil {
		return nil
	}
	uid, gid := int(c.UID), int(c.GID)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := root.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case ok && st.Uid == c.UID && st.Gid == c.GID:
			return nil
		case ok && !info.IsDir() && st.Nlink > 1:
			return nil
		}
		return root.Lchown(path, uid, gid)
	})
}
