package litestream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	lite "github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// client is Litestream's way to the bucket for the one leader of a history. Nobody else writes there, so what it read at the
// start and what it did since is all there is: nothing is ever listed again.
type client struct {
	store   *store
	history history
	files   *index

	mu      sync.Mutex
	written time.Time // when the last file was stored
	bytes   uint64    // that were stored

	shipped pages  // what was shipped step by step, as a database; for the caller of Litestream alone
	at      uint64 // the step that it is at; 0 where it is not known, as the first ones were shipped by another process
	whole   bool   // the next step has all pages, whatever was shipped before
}

var _ lite.ReplicaClient = (*client)(nil)

// Type implements litestream.ReplicaClient.
func (*client) Type() string { return "jetstream" }

// Init implements litestream.ReplicaClient.
func (*client) Init(context.Context) error { return nil }

// SetLogger implements litestream.ReplicaClient.
func (*client) SetLogger(*slog.Logger) {}

// LTXFiles implements litestream.ReplicaClient.
func (c *client) LTXFiles(_ context.Context, level int, seek ltx.TXID, _ bool) (ltx.FileIterator, error) {
	var out []*ltx.FileInfo
	for _, f := range c.files.level(level, uint64(seek)) {
		out = append(out, info(f.span, f.size, f.stored))
	}
	return ltx.NewFileInfoSliceIterator(out), nil
}

func info(s span, size int64, created time.Time) *ltx.FileInfo {
	return &ltx.FileInfo{Level: s.level, MinTXID: ltx.TXID(s.first), MaxTXID: ltx.TXID(s.last), Size: size, CreatedAt: created}
}

// OpenLTXFile implements litestream.ReplicaClient.
func (c *client) OpenLTXFile(ctx context.Context, level int, first, last ltx.TXID, offset, size int64) (io.ReadCloser, error) {
	f, ok := c.files.get(span{level, uint64(first), uint64(last)})
	if !ok {
		return nil, fmt.Errorf("object %s: %w", c.history.object(level, uint64(first), uint64(last)), fs.ErrNotExist)
	}
	r, err := c.store.get(ctx, f)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		_ = r.Close()
		return nil, err
	}
	if size <= 0 {
		return r, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, size), r}, nil
}

// WriteLTXFile implements litestream.ReplicaClient.
func (c *client) WriteLTXFile(ctx context.Context, level int, first, last ltx.TXID, r io.Reader) (*ltx.FileInfo, error) {
	name := c.history.object(level, uint64(first), uint64(last))
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok { // a file that is one chunk is one message, however it is read
		if st, err := f.Stat(); err == nil && st.Size() <= int64(c.store.chunk) {
			all, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			r = bytes.NewReader(all)
		}
	}
	o, err := c.store.put(ctx, name, r)
	if err != nil {
		return nil, fmt.Errorf("store object %s in %s: %w", name, c.store.bucket, err)
	}
	f, ok := c.history.parse(o)
	if !ok {
		return nil, fmt.Errorf("object %s was stored as %s", name, o.Name)
	}
	c.files.add(f)
	c.mu.Lock()
	c.written = f.stored
	c.bytes += uint64(f.size)
	c.mu.Unlock()
	c.sum(f.span, r)
	return info(f.span, f.size, f.stored), nil
}

// stored returns how many bytes were.
func (c *client) stored() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// sum takes over what a step has shipped.
func (c *client) sum(s span, content io.Reader) {
	if s.level != 0 || s.first != 1 && !c.whole && (c.at == 0 || s.first > c.at+1) || s.last < c.at {
		return
	}
	if c.whole {
		c.shipped = pages{}
	}
	again, ok := content.(io.ReadSeeker)
	if !ok {
		c.at = 0
		return
	}
	n := 0
	_, err := again.Seek(0, io.SeekStart)
	if err == nil {
		_, err = c.shipped.take(again, func(uint32, []byte) error { n++; return nil })
	}
	if c.at = s.last; err != nil || c.whole && n < len(c.shipped.sums) {
		c.at = 0 // what the database sums up to has to be read
	}
	c.whole = false
}

// DeleteLTXFiles implements litestream.ReplicaClient.
func (c *client) DeleteLTXFiles(ctx context.Context, files []*ltx.FileInfo) error {
	for _, i := range files {
		f, ok := c.files.get(span{i.Level, uint64(i.MinTXID), uint64(i.MaxTXID)})
		if !ok {
			continue
		}
		if err := c.store.remove(ctx, f); err != nil {
			return err
		}
		c.files.drop(f.span)
	}
	return nil
}

// DeleteAll implements litestream.ReplicaClient.
func (c *client) DeleteAll(ctx context.Context) error {
	for level := range snapshotLevel + 1 {
		for _, f := range c.files.level(level, 0) {
			if err := c.DeleteLTXFiles(ctx, []*ltx.FileInfo{info(f.span, f.size, f.stored)}); err != nil {
				return err
			}
		}
	}
	return nil
}
