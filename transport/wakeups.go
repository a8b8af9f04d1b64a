package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

func nodeDurable(node string) string { return "agent-" + node }

// wakeupsAhead is how many wake-ups an agent fetches at once. They are for nobody else, and each takes no time.
const wakeupsAhead = 64

// EnsureNodeDurable makes the consumer of events addressed to a node, if it does not exist, and returns its name. It starts with
// what is stored from now on (an agent refolds its apps at its start, so the past is no news) and then keeps everything until it
// is acknowledged, however long the agent is away. An existing one is verified and not changed.
func EnsureNodeDurable(ctx context.Context, js jetstream.JetStream, s events.Subjects, node string) (string, error) {
	if err := spec.ValidateName("node", node); err != nil {
		return "", err
	}
	want := jetstream.ConsumerConfig{
		Durable: nodeDurable(node), Description: "go-cluster agent " + node + ": what is new for it",
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy, ReplayPolicy: jetstream.ReplayInstantPolicy,
		FilterSubject: s.Addressed(node), AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 1000, MaxWaiting: 512,
	}
	if err := ensureConsumer(ctx, js, s.EventsStream(), want); err != nil {
		return "", err
	}
	return want.Durable, nil
}

// DeleteNodeDurable removes the consumer of a node that has left. One that does not exist is no error.
func DeleteNodeDurable(ctx context.Context, js jetstream.JetStream, s events.Subjects, node string) error {
	if err := spec.ValidateName("node", node); err != nil {
		return err
	}
	err := js.DeleteConsumer(ctx, s.EventsStream(), nodeDurable(node))
	if err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return fmt.Errorf("consumer %s of stream %s: delete: %w", nodeDurable(node), s.EventsStream(), err)
}

// ConsumeWakeups calls fn, one call at a time, for each event addressed to the node of the durable: something about app is new up
// to sequence seq. It is a wake-up, not an instruction: it may come twice, and late. An error of fn has it repeated after 0.1 s to
// 10 s. An event that is not about an app, or whose subject cannot be read, is dropped and logged.
//
// connect makes the connection that is used, and closed at the end. It returns nil when ctx ends, and an error when the durable
// does not exist, as after the node's removal, or the connection is closed.
func ConsumeWakeups(ctx context.Context, connect func() (*nats.Conn, error), s events.Subjects, durable string, log *zap.Logger,
	fn func(app string, seq uint64) error) error {
	return work{
		name: "wakeups", stream: s.EventsStream(), durable: durable, connect: connect, log: log, ahead: wakeupsAhead,
		count: func(string) {},
		handle: func(_ context.Context, d *delivery) error {
			at, err := events.ParseEventSubject(d.Subject())
			switch {
			case err != nil:
				return Drop(err)
			case at.Cluster != s.Cluster() || at.Aggregate.Kind != events.KindApp:
				return Drop(fmt.Errorf("it is about %s of cluster %s, not about an app of %s", at.Aggregate, at.Cluster, s.Cluster()))
			}
			return fn(at.Aggregate.ID, d.seq)
		},
	}.run(ctx)
}
