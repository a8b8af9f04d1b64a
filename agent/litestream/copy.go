//go:build linux

package litestream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/superfly/ltx"
	"golang.org/x/sys/unix"
)

// copyTo is a database that files are applied to, page by page as they are: one that has everything is the file it was made from.
type copyTo struct {
	path  string
	spool string // directory for files that do not fit into memory
	f     *os.File
	fresh bool  // something was written that may not be on the disk
	pages pages // of what was written
}

// open opens the database; a new one is made empty.
func (c *copyTo) open(anew bool) (err error) {
	if c.f != nil && !anew {
		return nil
	}
	if err := c.close(); err != nil {
		return err
	}
	flags := os.O_RDWR | unix.O_NOFOLLOW
	if anew {
		if err := erase(c.path); err != nil {
			return err
		}
		flags |= os.O_CREATE | os.O_EXCL
	}
	c.f, err = os.OpenFile(c.path, flags, 0o600)
	c.fresh = true // whatever another process has left of it
	return err
}

// sync has what was written on the disk. It costs no time where that is so.
func (c *copyTo) sync() error {
	if c.f == nil || !c.fresh {
		return nil
	}
	err := c.f.Sync()
	c.fresh = err != nil
	return err
}

func (c *copyTo) close() error {
	if c.f == nil {
		return nil
	}
	err := errors.Join(c.sync(), c.f.Close())
	c.f = nil
	return err
}

// apply brings a copy that is at at to the end of a file. After an error it is at at still, where pages may be newer: the same or a
// longer file puts that right.
func (c *copyTo) apply(ctx context.Context, s *store, f file, at uint64) error {
	if err := c.open(at == 0); err != nil {
		return err
	}
	if at > 0 {
		if err := c.know(); err != nil {
			return err
		}
	}
	content, err := c.fetch(ctx, s, f, at > 0)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	c.fresh = true
	head, err := c.pages.take(content, func(no uint32, page []byte) error {
		if _, err := c.f.WriteAt(page, int64(no-1)*int64(len(page))); err != nil {
			return fmt.Errorf("page %d: %w", no, err) // which names the file
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	if uint64(head.MinTXID) != f.first || uint64(head.MaxTXID) != f.last {
		return fmt.Errorf("%s: it says of itself that it is %s-%s", f.name, head.MinTXID, head.MaxTXID)
	}
	return c.f.Truncate(int64(head.Commit) * int64(head.PageSize))
}

// know reads what the pages of a copy are that another process has made.
func (c *copyTo) know() error {
	if c.pages.size > 0 {
		return nil
	}
	p, err := read(c.path)
	if err == nil {
		c.pages = *p
	}
	return err
}

// verify says whether the copy on the disk is what was written.
func (c *copyTo) verify() error {
	switch got, err := read(c.path); {
	case err != nil:
		return err
	case got.String() != c.pages.String():
		return fmt.Errorf("%s: what is on the disk sums up to %s, and what was written to %s", c.path, got, &c.pages)
	}
	return nil
}

// fetch returns the content of a file, wholly here and verified where it goes over what there is.
func (c *copyTo) fetch(ctx context.Context, s *store, f file, verified bool) (io.ReadCloser, error) {
	content, err := s.get(ctx, f)
	if err != nil || !verified {
		return content, err
	}
	defer func() { _ = content.Close() }()
	if f.chunks == 1 {
		all, err := io.ReadAll(content)
		if err == nil {
			err = ltx.NewDecoder(bytes.NewReader(all)).Verify()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		return io.NopCloser(bytes.NewReader(all)), nil
	}
	spool, err := os.CreateTemp(c.spool, "spool-*")
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.Remove(spool.Name()))
	if err == nil {
		_, err = io.Copy(spool, content)
	}
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = ltx.NewDecoder(spool).Verify()
	}
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = spool.Close()
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return spool, nil
}
