//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// chain is the floor of a migration: as many stored messages, each published by whoever was handed the one before, and nothing
// else. Services, agents and people are four connections, as they are at best.
type chain struct {
	s    *server
	hops int
	body []byte
	done chan error
}

const parties = 4

// newChain makes a stream and a durable consumer for each hop. body is the size of a message.
func newChain(s *server, hops, body int) *chain {
	s.tb.Helper()
	c := &chain{s: s, hops: hops, body: bytes.Repeat([]byte("x"), body), done: make(chan error, 1)}
	name := fmt.Sprintf("CHAIN_%d", hops)
	if _, err := s.js.CreateStream(s.tb.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name + ".*"}}); err != nil {
		s.tb.Fatal(err)
	}
	var party [parties]jetstream.JetStream
	for i := range party {
		party[i] = s.jetstream(s.connect())
	}
	for i := range hops {
		js := party[(i+1)%parties]
		cons, err := js.CreateConsumer(s.tb.Context(), name, jetstream.ConsumerConfig{Durable: fmt.Sprint("hop", i), FilterSubject: c.subject(i), AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			s.tb.Fatal(err)
		}
		cc, err := cons.Consume(func(m jetstream.Msg) {
			var err error
			if i < hops-1 {
				_, err = js.Publish(s.tb.Context(), c.subject(i+1), m.Data())
			}
			if err != nil || i == hops-1 {
				c.done <- err
			}
			_ = m.Ack()
		})
		if err != nil {
			s.tb.Fatal(err)
		}
		s.tb.Cleanup(cc.Stop)
	}
	return c
}

func (c *chain) subject(i int) string { return fmt.Sprintf("CHAIN_%d.%d", c.hops, i) }

// run times one chain from the first publish to the last delivery.
func (c *chain) run() time.Duration {
	c.s.tb.Helper()
	start := now()
	if _, err := c.s.js.Publish(c.s.tb.Context(), c.subject(0), c.body); err != nil {
		c.s.tb.Fatal(err)
	}
	if err := <-c.done; err != nil {
		c.s.tb.Fatal(err)
	}
	return now().Sub(start)
}

// together times n chains that begin at once, to the last delivery of the last of them.
func (c *chain) together(n int) time.Duration {
	c.s.tb.Helper()
	start := now()
	for range n {
		if _, err := c.s.js.PublishAsync(c.subject(0), c.body); err != nil {
			c.s.tb.Fatal(err)
		}
	}
	for range n {
		if err := <-c.done; err != nil {
			c.s.tb.Fatal(err)
		}
	}
	return now().Sub(start)
}
