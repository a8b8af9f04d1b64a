//go:build linux

package litestream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/superfly/ltx"
	"golang.org/x/sys/unix"
)

// errGone says that an object is not there any more, or not whole.
var errGone = errors.New("it is not in the store any more")

// copyTo is a database that files are applied to, page by page as they are: one that has everything is the file it was made from.
type copyTo struct {
	path  string
	spool string // directory for files that do not fit into memory
	f     *os.File
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
	return err
}

func (c *copyTo) sync() error {
	if c.f == nil {
		return nil
	}
	return c.f.Sync()
}

func (c *copyTo) close() error {
	if c.f == nil {
		return nil
	}
	err := errors.Join(c.f.Sync(), c.f.Close())
	c.f = nil
	return err
}

// apply brings a copy that is at at to the end of a file. After an error it is at at still, where pages may be newer: the same or a
// longer file puts that right.
func (c *copyTo) apply(ctx context.Context, s *store, f file, at uint64) error {
	if err := c.open(at == 0); err != nil {
		return err
	}
	content, err := c.fetch(ctx, s, f, at > 0)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	dec := ltx.NewDecoder(content)
	dec.SetRetainPageIndex(false)
	if err := dec.DecodeHeader(); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	head := dec.Header()
	if uint64(head.MinTXID) != f.first || uint64(head.MaxTXID) != f.last {
		return fmt.Errorf("%s: it says of itself that it is %s-%s", f.name, head.MinTXID, head.MaxTXID)
	}
	page := make([]byte, head.PageSize)
	for {
		var at ltx.PageHeader
		err := dec.DecodePage(&at, page)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := c.f.WriteAt(page, int64(at.Pgno-1)*int64(head.PageSize)); err != nil {
			return fmt.Errorf("%s: page %d: %w", c.path, at.Pgno, err)
		}
	}
	if err := dec.Close(); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return c.f.Truncate(int64(head.Commit) * int64(head.PageSize))
}

// fetch returns the content of a file, wholly here and verified where it goes over what there is.
func (c *copyTo) fetch(ctx context.Context, s *store, f file, verified bool) (io.ReadCloser, error) {
	content, err := s.get(ctx, f)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
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
