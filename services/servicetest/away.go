package servicetest

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services"
)

// Away is a way to the log on which the events of one type are lost for as long as On is set: nobody ever answers.
type Away struct {
	jetstream.JetStream
	Type string // or a part of its name
	On   atomic.Bool
	Lost atomic.Int32 // how often one was sent in vain
}

// AnotherAway returns the Base of another process of the same cluster, and its way to the log.
func (c *Cluster) AnotherAway(t *testing.T, replica, typ string) (*services.Base, *Away) {
	t.Helper()
	b := c.Another(t, replica)
	js, err := jetstream.New(b.NC)
	if err != nil {
		t.Fatal(err)
	}
	a := &Away{JetStream: js, Type: typ}
	if b.Events, err = events.Open(c.ctx, a, b.Subjects, b.Now); err != nil {
		t.Fatal(err)
	}
	return b, a
}

// PublishMsg loses a message, or passes it on.
func (a *Away) PublishMsg(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if a.On.Load() && strings.Contains(m.Subject, a.Type) {
		a.Lost.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return a.JetStream.PublishMsg(ctx, m, o...)
}
