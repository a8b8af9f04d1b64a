//go:build linux

package main

import (
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/litestream"
)

// replications are what carries the data of a node's apps, over connections that dial makes. Call done after the agent has ended.
func replications(dial func() (*nats.Conn, error), cluster string, log *zap.Logger) (all []agent.Replication, done func(), err error) {
	r, err := litestream.Over(dial, cluster, log)
	if err != nil {
		return nil, nil, err
	}
	return []agent.Replication{r}, func() { _ = r.Close() }, nil
}
