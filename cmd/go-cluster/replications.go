//go:build linux

package main

import (
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/litestream"
)

// replications are what carries the data of a node's apps.
func replications(nc *nats.Conn, cluster string, log *zap.Logger) ([]agent.Replication, error) {
	r, err := litestream.Over(nc, cluster, log)
	if err != nil {
		return nil, err
	}
	return []agent.Replication{r}, nil
}
