// Package attach is how packages below cluster give an app data of a kind that package cluster does not link: who does not import
// them does not pay for them.
package attach

import (
	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/embedded"
)

// Data are what a singleton keeps, carried by its node's agent.
type Data struct {
	What   string // as the program calls it, for errors
	SQLite string // of the app's spec
	// Replication makes what carries data of this kind for the whole node. If it is an io.Closer, it is closed after the node's agent has ended.
	Replication func(agent.Config) (agent.Replication, error)
	// Around puts the data around the functions of the app: they are open while these may use them.
	Around func(embedded.App) embedded.App
}
