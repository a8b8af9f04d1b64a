//go:build linux

package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/spec"
)

// echoes answers requests on a subject, for roundTrip.
func (c *cluster) echoes() (subject string) {
	c.t.Helper()
	subject = nats.NewInbox()
	if _, err := c.nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		c.t.Fatal(err)
	}
	return subject
}

// roundTrip returns what a request to somebody else and the answer take.
func (c *cluster) roundTrip(subject string) time.Duration {
	c.t.Helper()
	began := time.Now()
	if _, err := c.nc.Request(subject, []byte("x"), 5*time.Second); err != nil {
		c.t.Fatal(err)
	}
	return time.Since(began)
}

// hops stores six messages one after the other, each once the one before was received by whoever follows: what a move does between its
// step-down and its end, with nothing decided and nothing done.
func (c *cluster) hops(stream jetstream.Stream, js jetstream.JetStream) time.Duration {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		c.t.Fatal(err)
	}
	it, err := cons.Messages()
	if err != nil {
		c.t.Fatal(err)
	}
	defer it.Stop()
	var began time.Time
	for i := range 7 { // the first one is not counted: the consumer is on its way
		if i == 1 {
			began = time.Now()
		}
		if _, err := js.Publish(ctx, "floor.hop", make([]byte, 700)); err != nil {
			c.t.Fatal(err)
		}
		if _, err := it.Next(jetstream.NextContext(ctx)); err != nil {
			c.t.Fatal(err)
		}
	}
	return time.Since(began)
}

func (c *cluster) hopStream() (jetstream.Stream, jetstream.JetStream) {
	c.t.Helper()
	js, err := jetstream.New(c.nc)
	if err != nil {
		c.t.Fatal(err)
	}
	stream, err := js.CreateStream(c.t.Context(), jetstream.StreamConfig{Name: "FLOOR", Subjects: []string{"floor.>"}, Storage: jetstream.FileStorage})
	if err != nil {
		c.t.Fatal(err)
	}
	return stream, js
}

// shipped returns what the last flush of a small database and the catching up with it take, with nobody else there.
func (c *cluster) shipped(i int, js jetstream.JetStream) (flush, caughtUp time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	fatal := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	dataOf := func(side string) (agent.Replication, agent.Data) {
		dir := filepath.Join(c.dir, fmt.Sprintf("floor-%d-%s", i, side))
		fatal(os.MkdirAll(filepath.Join(dir, "data"), 0o700))
		return litestream.New(litestream.Options{JS: js, Subjects: c.subjects}),
			agent.Data{App: spec.App{Name: "floor"}, Instance: "floor-0", Path: filepath.Join(dir, "data", "floor.db"), Dir: filepath.Join(dir, "own")}
	}
	source, at := dataOf("a")
	target, copied := dataOf("b")
	db, err := sql.Open("sqlite", "file:"+at.Path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
	fatal(err)
	_, err = db.ExecContext(ctx, "CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB); INSERT INTO t (b) VALUES (randomblob(100000))")
	fatal(err)
	epoch := uint64(i + 1)
	lead, err := source.Lead(ctx, at, epoch)
	fatal(err)
	follow, err := target.Follow(ctx, copied, epoch)
	fatal(err)
	p, err := lead.Sync(ctx)
	fatal(err)
	_, err = follow.CatchUp(ctx, p)
	fatal(err)
	_, err = db.ExecContext(ctx, "INSERT INTO t (b) VALUES (randomblob(500))")
	fatal(err)
	fatal(db.Close())
	began := time.Now()
	p, sum, err := lead.Flush(ctx)
	fatal(err)
	flush = time.Since(began)
	began = time.Now()
	fatal(follow.Apply(ctx, p, sum))
	return flush, time.Since(began)
}
