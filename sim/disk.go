package sim

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// writeEvery is how often a client writes to an active app that has data. Each write is acknowledged as it is made.
const writeEvery = 100 * time.Millisecond

// row is one acknowledged write: the n-th of a life.
type row struct{ life, n int }

// database is what a machine's disk has of one instance. The store's lock guards it.
type database struct {
	rows []row           // in order of writing; what is in it is never changed, so that copies share it
	led  uint64          // epoch of which it has all, 0 for none
	at   events.Position // of a copy, how far it follows

	life  int           // that writes, -1: nobody does
	since time.Duration // of the life's first write
	wrote int           // by it
}

// sum is the checksum of a database with these rows.
func sum(rows []row) string {
	h := fnv.New64a()
	for _, r := range rows {
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:], uint64(r.life)) //nolint:gosec // a bit pattern
		binary.LittleEndian.PutUint64(b[8:], uint64(r.n))   //nolint:gosec // a bit pattern
		_, _ = h.Write(b[:])
	}
	return fmt.Sprintf("%d rows %x", len(rows), h.Sum64())
}

// write makes the writes that are due by now.
func (d *database) write(now time.Duration) {
	if d.life < 0 {
		return
	}
	for ; d.since+time.Duration(d.wrote)*writeEvery <= now; d.wrote++ {
		d.rows = append(d.rows, row{d.life, d.wrote})
	}
}

// content is what is in the database now.
func (d *database) content(now time.Duration) []row {
	d.write(now)
	return slices.Clip(d.rows)
}

// end has nobody write any more.
func (d *database) end(now time.Duration) {
	d.write(now)
	d.life = -1
}

// replace makes it a copy.
func (d *database) replace(rows []row, at events.Position) { d.rows, d.led, d.at = rows, 0, at }

// missing counts the writes of all that are not in rows.
func missing(all, rows []row) (n int) {
	if len(rows) >= len(all) && slices.Equal(all, rows[:len(all)]) {
		return 0
	}
	have := make(map[row]bool, len(rows))
	for _, r := range rows {
		have[r] = true
	}
	for _, r := range all {
		if !have[r] {
			n++
		}
	}
	return n
}
