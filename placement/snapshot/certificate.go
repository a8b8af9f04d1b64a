package snapshot

// Certificate proves a bound: from its potentials anybody can compute that fewer moves cannot do. It speaks about counting alone – rules
// that concern an app and a node, one instance of an app on a node, limits – which every legal plan obeys too.
type Certificate struct {
	Forced int              // moves that have to be, of instances that take no part in counting
	Pinned map[string]bool  // instances that take no part and stay where they are, besides those in flight
	Band   bool             // the bound is on moves after which every node is within Lo and Hi; else on those after which Σ count²/weight is least
	Lo, Hi map[string]int32 // by node
	Level  map[string]Level // by node: the marginal of Σ count²/weight that the optimum has there
	AppOf  map[string]Level // by app
	Node   map[string]int64 // by node: potential, in moves × Unit
	App    map[string]int64 // by app
	Unit   int64            // a move; what breaks ties between equally many moves is less than one of it altogether
}

// Level is a fraction. A denominator of 0 is more than any other.
type Level struct{ Num, Den int64 }
