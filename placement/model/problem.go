package model

import (
	"time"

	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// None is the number of no node.
const None int32 = -1

// Problem is one state, compiled. Its slices are read, never changed, once Compile has returned.
type Problem struct {
	Now    time.Time
	Policy spec.Policy
	Dims   []string // names of the resources that something demands and some node limits
	Nodes  []Node
	Apps   []App
	Units  []Unit
	Groups int             // of nodes that no app's own rules and preferences tell apart
	State  *snapshot.State // what it was compiled from

	keys    []string // labels that some rule reads
	nodeOf  map[string]int32
	appOf   map[string]int32
	domains map[string]map[string]int32
}

// Node is a node. Weight is its share of the load in thousandths.
type Node struct {
	ID     string
	Labels map[string]string
	Status string // ready, suspected, lost, left
	Group  int32
	Weight int64
	Cap    []int64 // by dimension; Unlimited where it has none
	Load   float64
	Open   bool // ready and schedulable: it takes instances
	Leave  bool // everything has to leave: it drains, is lost or has left
	Drain  bool
}

// Unlimited is the capacity of a node in a resource that it does not name.
const Unlimited = int64(1) << 62

// App is an app.
type App struct {
	Name     string
	Mode     spec.Mode
	Spec     *snapshot.App
	Desired  int
	MoveCost int32
	Allowed  []uint64 // by group: the app's own rules (labels, on_nodes) hold
	Pref     []int32  // by group: points of preference; nil when it has none
	Away     []int32  // apps it never shares a node with, in both directions
	With     []int32  // apps that have to be on the same node
	Spread   []Spread
	Demand   []int64
	Units    []int32
	Standbys []int32 // nodes with one: where its instance goes first when it has to leave
	Fixed    bool    // spread mode: where its instances are follows from the nodes alone
	Excluded bool    // left out of balance
}

// Spread limits how unevenly an app's instances lie over the values of a label.
type Spread struct {
	Label  string
	Skew   int
	Domain []int32 // by node: number of its value, None without the label
	Count  int     // of domains
	Takes  []bool  // by domain: some node of it takes the app
}

// Unit is an instance, or one that should exist and does not.
type Unit struct {
	ID      string
	App     int32
	Node    int32 // None: it waits for a place
	To      int32 // in flight to; None otherwise
	Source  int32 // in flight from; None otherwise
	Moving  bool
	New     bool // not among the listed instances
	Demand  []int64
	MovedAt time.Time
	From    int32 // where it was before MovedAt
}

// At returns where the unit counts in balance: the target of its move, or where it is.
func (u *Unit) At() int32 {
	if u.Moving {
		return u.To
	}
	return u.Node
}

// Allows says whether the app's own rules let it run on nodes of the group.
func (a *App) Allows(group int32) bool { return a.Allowed[group>>6]&(1<<(group&63)) != 0 }

// Points returns the app's preference for nodes of the group, in points.
func (a *App) Points(group int32) int32 {
	if a.Pref == nil {
		return 0
	}
	return a.Pref[group]
}

// NodeIndex returns the number of a node.
func (p *Problem) NodeIndex(id string) (int32, bool) { n, ok := p.nodeOf[id]; return n, ok }

// AppIndex returns the number of an app.
func (p *Problem) AppIndex(name string) (int32, bool) { a, ok := p.appOf[name]; return a, ok }

// Eligible says whether the node could take an instance of the app if it were empty.
func (p *Problem) Eligible(app, node int32) bool {
	n := &p.Nodes[node]
	return n.Open && p.Apps[app].Allows(n.Group)
}

// LiesIn returns the number of the value that a unit on a node (None: nowhere) counts for in a spread rule; None where the node lacks the label, or
// everything leaves it: what has nowhere to go yet will not be there in the end.
func (p *Problem) LiesIn(s *Spread, node int32) int32 {
	if node == None || p.Nodes[node].Leave {
		return None
	}
	return s.Domain[node]
}

// MayStay says whether an instance of the app may go on running where it is, whatever else is there.
func (p *Problem) MayStay(app, node int32) bool {
	n := &p.Nodes[node]
	return !n.Leave && p.Apps[app].Allows(n.Group)
}
