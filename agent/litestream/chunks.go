package litestream

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	quietTime   = 10 * time.Second // without a chunk of an object that is being read
	chunksAhead = 32               // that wait in memory for whoever reads
)

// chunks reads an object of many chunks, for as long as there is always a next one. The library's own reader ends after five seconds where
// a context has no end, however much there was to read, and waits for as long as one has where a chunk is missing.
type chunks struct {
	ctx  context.Context
	name string
	it   jetstream.MessagesContext
	left uint32
	rest []byte // of the chunk that is being read
}

func (s *store) chunks(ctx context.Context, f file) (*chunks, error) {
	try, cancel := context.WithTimeout(ctx, quietTime)
	defer cancel()
	cons, err := s.stream.OrderedConsumer(try, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"$O." + s.bucket + ".C." + f.nuid}, InactiveThreshold: 3 * quietTime})
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", f.name, err)
	}
	if n := cons.CachedInfo().NumPending; n < uint64(f.chunks) {
		return nil, fmt.Errorf("object %s: %w: %d of %d chunks are left", f.name, errGone, n, f.chunks)
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(chunksAhead))
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", f.name, err)
	}
	return &chunks{ctx: ctx, name: f.name, it: it, left: f.chunks}, nil
}

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		due, cancel := context.WithTimeout(c.ctx, quietTime)
		m, err := c.it.Next(jetstream.NextContext(due))
		cancel()
		if err != nil {
			return 0, fmt.Errorf("object %s: the last %d chunks do not come: %w", c.name, c.left, err)
		}
		c.rest = m.Data()
		c.left--
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (c *chunks) Close() error {
	c.it.Stop()
	return nil
}
