package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// MigratorDurable is the consumer of reports that all replicas of the migrator share.
const MigratorDurable = events.Migrator

// BootstrapOptions is what a deployment chooses about its streams.
type BootstrapOptions struct {
	Replicas int // copies of each stream: 1 (the default) on one server, 3 in a cluster of servers
}

// Bootstrap makes the cluster's streams and its services' durables where they do not exist, and verifies those that do. It never
// changes what is there: a setting that differs is somebody's decision or somebody's attack, and the error names stream, field,
// and both values. Any number of processes may run it at the same time, and any number of times.
func Bootstrap(ctx context.Context, js jetstream.JetStream, s events.Subjects, o BootstrapOptions) error {
	for _, want := range streams(s, max(1, o.Replicas)) {
		if err := ensureStream(ctx, js, want, want.Name == s.EventsStream()); err != nil {
			return fmt.Errorf("bootstrap cluster %s: %w", s.Cluster(), err)
		}
	}
	if err := ensureConsumer(ctx, js, s.ReportsStream(), migratorDurable(s)); err != nil {
		return fmt.Errorf("bootstrap cluster %s: %w", s.Cluster(), err)
	}
	return nil
}

const maxHeader = 8 << 10 // a stream's message limit counts the headers too

func streams(s events.Subjects, replicas int) []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld, Replicas: replicas,
		MaxConsumers: -1, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, Duplicates: 2 * time.Minute,
	}
	// The truth. Nothing ages, nothing can be removed, and every read is the leader's.
	log := base
	log.Name, log.Subjects = s.EventsStream(), []string{s.Events()}
	log.Description = "go-cluster event log: what happened; never purge, delete or edit"
	log.MaxMsgSize = 1 << 20
	log.DenyDelete, log.DenyPurge, log.AllowAtomicPublish = true, true, true

	// Answers to orders. A report that is lost costs a repeated step, so the oldest gives way: refusing new ones would stop every
	// migration as soon as a week's worth is stored. The bound per subject keeps one node from pushing out the others' reports.
	reports := base
	reports.Name, reports.Subjects = s.ReportsStream(), []string{s.Reports()}
	reports.Description = "go-cluster reports: the nodes' answers to orders"
	reports.MaxAge, reports.MaxBytes, reports.MaxMsgsPerSubject = 7*24*time.Hour, 256<<20, 4096
	reports.MaxMsgSize = api.ReportMax + maxHeader

	// One message per lease. Purging one would free a lease that is held, so that is denied like on the log.
	leases := base
	leases.Name, leases.Subjects = s.LeasesStream(), []string{s.Leases(), s.Beats()}
	leases.Description = "go-cluster leases: who holds which node, and the services' heartbeats"
	leases.MaxMsgsPerSubject, leases.MaxMsgSize = 1, api.LeaseMax+maxHeader
	leases.DenyDelete, leases.DenyPurge = true, true

	return []jetstream.StreamConfig{log, reports, leases}
}

func migratorDurable(s events.Subjects) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: MigratorDurable, Description: "go-cluster migrator: reports not yet judged",
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy, ReplayPolicy: jetstream.ReplayInstantPolicy,
		FilterSubject: s.Reports(), AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 1000, MaxWaiting: 512,
	}
}

func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, incarnate bool) error {
	hash := configHash(want)
	want.Metadata = map[string]string{events.MetaConfigHash: hash}
	if incarnate {
		want.Metadata[events.MetaIncarnation] = rand.Text()
	}
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another replica was first; its incarnation is the one that counts
			stream, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", want.Name, err)
	}
	// What was just made is verified as well: a server may accept a setting and yet not apply it.
	got := stream.CachedInfo().Config
	if err := sameConfig("stream "+want.Name, want, got); err != nil {
		return err
	}
	if h := got.Metadata[events.MetaConfigHash]; h != hash {
		return fmt.Errorf("stream %s: metadata %s is %q, want %q", want.Name, events.MetaConfigHash, h, hash)
	}
	if incarnate && got.Metadata[events.MetaIncarnation] == "" {
		return fmt.Errorf("stream %s: metadata %s is missing", want.Name, events.MetaIncarnation)
	}
	return nil
}

func ensureConsumer(ctx context.Context, js jetstream.JetStream, stream string, want jetstream.ConsumerConfig) error {
	what := fmt.Sprintf("consumer %s of stream %s", want.Durable, stream)
	want.Name = want.Durable
	cons, err := js.Consumer(ctx, stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		cons, err = js.CreateConsumer(ctx, stream, want)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			cons, err = js.Consumer(ctx, stream, want.Durable)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return sameConfig(what, want, cons.CachedInfo().Config)
}
