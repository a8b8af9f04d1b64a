//go:build linux

package main

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/events"
)

// replications are what carries the data of a node's apps.
func replications(nc *nats.Conn, cluster string, log *zap.Logger) ([]agent.Replication, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	subjects, err := events.NewSubjects(cluster)
	if err != nil {
		return nil, err
	}
	return []agent.Replication{litestream.New(litestream.Options{JS: js, Subjects: subjects, Log: log})}, nil
}
