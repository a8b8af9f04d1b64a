package litestream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
	"github.com/superfly/ltx"
)

// emptySum is the checksum of a database that is not there.
const emptySum = "none"

// errTorn says that a file is not made of the pages of a database.
var errTorn = errors.New("it is torn")

// pages has a checksum of each page of a database, and of all of them together. It is kept while pages are shipped or applied, so that
// what a whole database sums up to is known at every moment without reading it; reading it gives the same. It takes eight bytes
// a page. The page that SQLite locks and never writes does not count.
type pages struct {
	size  uint32 // of a page, 0 before the first
	sums  []uint64
	total uint64
}

// begin forgets everything: a database with pages of that size begins anew.
func (p *pages) begin(size uint32) { *p = pages{size: size, sums: p.sums[:0]} }

// resize makes the database n pages long. New pages are zero until they are set.
func (p *pages) resize(n uint32) {
	for uint32(len(p.sums)) > n {
		p.total ^= p.sums[len(p.sums)-1]
		p.sums = p.sums[:len(p.sums)-1]
	}
	var zero []byte
	for no := uint32(len(p.sums)) + 1; no <= n; no++ {
		if zero == nil {
			zero = make([]byte, p.size)
		}
		p.sums = append(p.sums, 0)
		p.set(no, zero)
	}
}

// set takes over the content of page no, which is within the database.
func (p *pages) set(no uint32, content []byte) {
	if no == ltx.LockPgno(p.size) {
		return
	}
	var h xxhash.Digest
	h.ResetWithSeed(uint64(no))
	_, _ = h.Write(content)
	sum := h.Sum64()
	p.total ^= p.sums[no-1] ^ sum
	p.sums[no-1] = sum
}

func (p *pages) String() string {
	if len(p.sums) == 0 {
		return emptySum
	}
	return fmt.Sprintf("pages:%d:%016x", len(p.sums), p.total)
}

// take takes over what a file of a history says. The database must be where the file begins, or the file begin with the database.
func (p *pages) take(content io.Reader, write func(no uint32, page []byte) error) (head ltx.Header, err error) {
	dec := ltx.NewDecoder(content)
	dec.SetRetainPageIndex(false)
	if err := dec.DecodeHeader(); err != nil {
		return head, err
	}
	head = dec.Header()
	if head.MinTXID == 1 || p.size == 0 {
		p.begin(head.PageSize)
	}
	if head.PageSize != p.size {
		return head, fmt.Errorf("its pages have %d bytes, those before had %d", head.PageSize, p.size)
	}
	p.resize(head.Commit)
	page := make([]byte, head.PageSize)
	for {
		var at ltx.PageHeader
		err := dec.DecodePage(&at, page)
		switch {
		case errors.Is(err, io.EOF):
			return head, dec.Close()
		case err != nil:
			return head, err
		case at.Pgno == 0 || at.Pgno > head.Commit:
			return head, fmt.Errorf("it has page %d of a database of %d", at.Pgno, head.Commit)
		}
		if err := write(at.Pgno, page); err != nil {
			return head, err
		}
		p.set(at.Pgno, page)
	}
}

// read returns the pages of a database that nobody writes to and that has no write-ahead log.
func read(path string) (*pages, error) { return readWhile(context.Background(), path) }

// readWhile is read until ctx ends.
func readWhile(ctx context.Context, path string) (*pages, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var head [18]byte
	switch _, err := f.ReadAt(head[:], 0); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("checksum of %s: %w: it has no header", path, errTorn)
	case err != nil:
		return nil, fmt.Errorf("checksum of %s: %w", path, err)
	}
	size := uint32(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 64 << 10
	}
	if size < 512 || size&(size-1) != 0 {
		return nil, fmt.Errorf("checksum of %s: %w: pages cannot have %d bytes", path, errTorn, size)
	}
	p := &pages{}
	p.begin(size)
	const many = 16
	buf := make([]byte, many*size)
	for no := uint32(1); ; {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("checksum of %s: %w", path, context.Cause(ctx))
		}
		n, err := io.ReadFull(f, buf)
		if n%int(size) != 0 {
			return nil, fmt.Errorf("checksum of %s: %w: %d bytes are left of a page of %d", path, errTorn, n%int(size), size)
		}
		for at := 0; at < n; at += int(size) {
			p.sums = append(p.sums, 0)
			p.set(no, buf[at:at+int(size)])
			no++
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return p, nil
		case err != nil:
			return nil, fmt.Errorf("checksum of %s: %w", path, err)
		}
	}
}

// checksum returns the checksum of a database that nobody uses and that has no write-ahead log.
func checksum(path string) (string, error) {
	p, err := read(path)
	if err != nil {
		return "", err
	}
	return p.String(), nil
}
