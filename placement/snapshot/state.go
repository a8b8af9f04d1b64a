package snapshot

import (
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// State is everything that a plan rests on. Only ids, labels, apps and instances have to be given.
type State struct {
	Now       time.Time    `json:"now,omitzero"` // zero: no time has passed since anything
	Policy    *spec.Policy `json:"policy,omitzero"`
	Nodes     []Node       `json:"nodes"`
	Apps      []App        `json:"apps"`
	Instances []Instance   `json:"instances"`
	Standbys  []Instance   `json:"standbys,omitempty"` // they serve nobody and count in no balance; their room is not for what has a place elsewhere
	InFlight  []InFlight   `json:"in_flight,omitempty"`
}

// Node is a node with its labels. An empty Status is ready, an empty Scheduling is schedulable.
type Node struct {
	ID         string            `json:"id"`
	Status     string            `json:"status,omitzero"`     // ready, suspected, lost or left
	Scheduling string            `json:"scheduling,omitzero"` // schedulable, cordoned or draining
	Labels     map[string]string `json:"labels,omitempty"`
	Weight     Amount            `json:"weight,omitzero"`   // its share of the load; zero: 1
	Capacity   Amounts           `json:"capacity,omitzero"` // a resource that is not named is unlimited
	Load       float64           `json:"load,omitzero"`     // 0…1, for the load threshold
}

// App is an app spec as people declare it, with the resources of any dimension and the price of a move in one place. Without a
// mode it has as many instances as are listed.
type App struct {
	spec.App  `json:",inline"`
	Resources Amounts `json:"resources,omitzero"` // of each instance that does not say otherwise
	MoveCost  *int    `json:"move_cost,omitzero"` // default: migration.move_cost, else 1
}

// Instance is one instance where it is. Without a node it waits for a place.
type Instance struct {
	ID      string    `json:"id"`
	App     string    `json:"app"`
	Node    string    `json:"node,omitzero"`
	Role    string    `json:"role,omitzero"`
	Demand  Amounts   `json:"demand,omitzero"`
	MovedAt time.Time `json:"moved_at,omitzero"`
	From    string    `json:"moved_from,omitzero"` // where it was before MovedAt: it does not go back soon
}

// InFlight is a move under way. Its instance takes room at both ends and counts at the target.
type InFlight struct {
	Instance string `json:"instance"`
	From     string `json:"from,omitzero"`
	To       string `json:"to,omitzero"`
}
