package services

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// Config is what a process that runs services is given.
type Config struct {
	Cluster string
	Replica string // id of this process, unique among all that run services; one NATS token
	Version string
	NC      *nats.Conn
	Dial    func() (*nats.Conn, error) // a further connection like NC, for Watermill, which closes what it is given
	Log     *zap.Logger
	Boot    func() time.Duration // CLOCK_BOOTTIME, or the bubble's time in tests
	Now     func() time.Time     // wall clock, for people only
	// TrustIdentity takes who asks from NATS itself. It is right only where people's accounts import the commands with their
	// identity shared and nobody but go-cluster has a login in the account of the services: see deploy/nats.
	TrustIdentity bool
}

// Base is what all services of one process share: one fold, one view of the leases, one clock.
type Base struct {
	Config
	events.Subjects
	JS      jetstream.JetStream
	Events  *events.Log
	Replica *projections.Replica
	Leases  *transport.Leases
	Seen    *LeaseView
}

// Open binds to the streams of the cluster, which transport.Bootstrap has made.
func Open(ctx context.Context, cfg Config) (*Base, error) {
	s, err := events.NewSubjects(cfg.Cluster)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(cfg.NC)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	log, err := events.Open(ctx, js, s, cfg.Now)
	if err != nil {
		return nil, err
	}
	b := &Base{Config: cfg, Subjects: s, JS: js, Events: log, Leases: transport.NewLeases(js, s)}
	b.Replica = projections.NewReplica(log, func(err error) { cfg.Log.Warn("log: subscription lost, following anew", zap.Error(err)) })
	b.Seen = newLeaseView(cfg.Boot)
	return b, nil
}

// Run keeps the fold and the view of the leases up to date until ctx ends.
func (b *Base) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.Replica.Run(ctx) })
	g.Go(func() error {
		for {
			err := b.Leases.Follow(ctx, b.Seen.observe)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.Log.Warn("leases: subscription lost, following anew", zap.Error(err))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(250 * time.Millisecond):
			}
		}
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
