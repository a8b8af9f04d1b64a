package transport

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
)

// OpenLog binds to the event log of a cluster over a connection.
func OpenLog(ctx context.Context, nc *nats.Conn, s events.Subjects) (*events.Log, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return events.Open(ctx, js, s, time.Now)
}
