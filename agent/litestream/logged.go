package litestream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// readLogged returns the pages of a database that nobody writes to, with what its write-ahead log has of it.
func readLogged(path string) (*pages, error) {
	p, err := read(path)
	if err != nil {
		return nil, err
	}
	log, err := os.ReadFile(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(log) < walHeader {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if size := binary.BigEndian.Uint32(log[8:]); size != p.size {
		return nil, fmt.Errorf("checksum of %s: its pages have %d bytes, those of its log %d", path, p.size, size)
	}
	p.overlay(log)
	return p, nil
}

const (
	walHeader   = 32
	frameHeader = 24
)

// overlay takes over the transactions of a write-ahead log up to the first frame that is not of it, or not whole: there SQLite ends, too.
func (p *pages) overlay(log []byte) {
	var order binary.ByteOrder = binary.LittleEndian
	if log[3]&1 == 1 {
		order = binary.BigEndian
	}
	var sum walSum
	sum.add(order, log[:24])
	if !sum.is(log[24:32]) {
		return
	}
	type frame struct {
		page    uint32
		content []byte
	}
	var open []frame // of a transaction that has not ended yet
	whole := frameHeader + int(p.size)
	for at := walHeader; at+whole <= len(log); at += whole {
		head, content := log[at:at+frameHeader], log[at+frameHeader:at+whole]
		sum.add(order, head[:8])
		sum.add(order, content)
		if string(head[8:16]) != string(log[16:24]) || !sum.is(head[16:24]) {
			return
		}
		open = append(open, frame{binary.BigEndian.Uint32(head), content})
		if length := binary.BigEndian.Uint32(head[4:]); length > 0 {
			p.resize(length)
			for _, f := range open {
				if f.page > 0 && f.page <= length {
					p.set(f.page, f.content)
				}
			}
			open = open[:0]
		}
	}
}

// walSum is the running checksum of a write-ahead log.
type walSum struct{ a, b uint32 }

func (s *walSum) add(order binary.ByteOrder, b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s.a += order.Uint32(b) + s.b
		s.b += order.Uint32(b[4:]) + s.a
	}
}

func (s *walSum) is(b []byte) bool {
	return s.a == binary.BigEndian.Uint32(b) && s.b == binary.BigEndian.Uint32(b[4:])
}
