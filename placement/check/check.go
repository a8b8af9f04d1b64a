package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// Violation is one thing that is wrong with a plan.
type Violation struct{ Instance, Detail string }

// String returns the violation in words.
func (v Violation) String() string { return v.Instance + ": " + v.Detail }

// Plan lists what is wrong with a plan for a state; nil when nothing is.
func Plan(s *snapshot.State, p *snapshot.Plan) []Violation {
	w, err := newWorld(s)
	if err != nil {
		return []Violation{{"", err.Error()}}
	}
	c := &checker{w: w, p: p}
	c.moves()
	if !c.known() {
		return c.out
	}
	c.order()
	c.budgets()
	c.carryOut()
	if p.OrderFree {
		c.together()
	}
	c.pending()
	return c.out
}

// known says whether there are the apps that the plan speaks of: without them there is nothing to carry out.
func (c *checker) known() bool {
	ok := true
	for _, m := range c.p.Moves {
		ok = ok && c.w.apps[m.App] != nil
	}
	for _, pd := range c.p.Pending {
		if c.w.apps[pd.App] == nil {
			c.bad(pd.Instance, "no app %s", pd.App)
			ok = false
		}
	}
	return ok
}

type checker struct {
	w   *world
	p   *snapshot.Plan
	out []Violation
}

func (c *checker) bad(instance, format string, args ...any) {
	c.out = append(c.out, Violation{instance, fmt.Sprintf(format, args...)})
}

// moves checks that each move is of an instance that is where the plan says, and that it has a reason.
func (c *checker) moves() {
	flying := map[string]bool{}
	for _, m := range c.w.s.InFlight {
		flying[m.Instance] = true
	}
	last := map[string]string{} // instance → where its moves so far lead
	for _, m := range c.p.Moves {
		in := c.w.ins[m.Instance]
		switch at, again := last[m.Instance]; {
		case again && at != m.From:
			c.bad(m.Instance, "moves on from %s, where it is not", m.From)
		case again && !slices.Contains(m.After, m.Instance):
			c.bad(m.Instance, "moves on without waiting for its own move")
		case again: // it had to wait for others there
		case c.w.apps[m.App] == nil:
			c.bad(m.Instance, "no app %s", m.App)
		case in == nil && m.From != "":
			c.bad(m.Instance, "does not exist and leaves %s", m.From)
		case in != nil && (in.Node != m.From || in.App != m.App):
			c.bad(m.Instance, "is of %s on %s, the plan says of %s on %s", in.App, in.Node, m.App, m.From)
		case flying[m.Instance]:
			c.bad(m.Instance, "is in flight")
		case m.From == m.To:
			c.bad(m.Instance, "stays")
		case m.Class == "" || m.Reason == "":
			c.bad(m.Instance, "moves without class or reason")
		}
		_, again := last[m.Instance]
		last[m.Instance] = m.To
		if again && m.From != "" && (m.Class == events.ClassForced || m.Class == events.ClassRecovery) { // what was ended is missing, wherever it is placed
			c.bad(m.Instance, "moves on as %s, and it may stay where it came to", m.Class)
		}
		if again || in == nil || m.From == "" {
			continue
		}
		n := c.w.nodes[m.From]
		must := leaves(n) || !c.w.allowed(m.App, n)
		forced := m.Class == events.ClassRecovery || m.Class == events.ClassForced
		if forced != must && m.Reason != events.ReasonScale {
			c.bad(m.Instance, "class %s, and it has to leave %s: %v", m.Class, m.From, must)
		}
	}
	moves := func(id string) bool { _, ok := last[id]; return ok }
	for id, in := range c.w.ins {
		if in.Node == "" || moves(id) || flying[id] || c.waits(id) {
			continue
		}
		if n := c.w.nodes[in.Node]; n.Status != "suspected" && (leaves(n) || !c.w.allowed(in.App, n)) {
			c.bad(id, "has to leave %s, and the plan neither moves it nor says that it has nowhere to go", in.Node)
		}
	}
}

func (c *checker) waits(id string) bool {
	return slices.ContainsFunc(c.p.Pending, func(pd snapshot.Pending) bool { return pd.Instance == id }) ||
		slices.ContainsFunc(c.p.Blocked, func(b snapshot.Blocked) bool { return b.Instance == id })
}

// order checks classes, waves and what moves wait for.
func (c *checker) order() {
	limit := 4
	if p := c.w.s.Policy; p != nil && p.Migration.MaxConcurrent > 0 {
		limit = p.Migration.MaxConcurrent
	}
	perWave, perApp, wavesOf := map[int]int{}, map[string]int{}, map[string][]int{}
	last := 1
	for _, m := range c.p.Moves {
		if m.Wave < last {
			c.bad(m.Instance, "is in wave %d after wave %d", m.Wave, last)
		}
		last = m.Wave
		wavesOf[m.Instance] = append(wavesOf[m.Instance], m.Wave)
		if m.Class != events.ClassRecovery {
			if perWave[m.Wave]++; perWave[m.Wave] > limit {
				c.bad(m.Instance, "is number %d of wave %d, %d at once are allowed", perWave[m.Wave], m.Wave, limit)
			}
		}
		key := fmt.Sprint(m.Wave, m.App)
		if perApp[key]++; c.w.apps[m.App] != nil && perApp[key] > max(1, c.w.apps[m.App].Migration.MaxParallel) {
			c.bad(m.Instance, "is number %d of its app in wave %d", perApp[key], m.Wave)
		}
	}
	for _, m := range c.p.Moves {
		for _, o := range m.After {
			if w := wavesOf[o]; len(w) == 0 || w[0] >= m.Wave {
				c.bad(m.Instance, "in wave %d waits for %s in waves %d", m.Wave, o, w)
			}
		}
	}
}

// carryOut lives through the waves: in each, everything arrives before anything leaves.
func (c *checker) carryOut() {
	skewed := map[string]bool{}
	for _, m := range c.p.Moves {
		if c.w.apps[m.App] != nil && m.To != "" && len(c.w.skews(m.App)) > 0 {
			skewed[m.App] = true // before anything moves
		}
	}
	for i := 0; i < len(c.p.Moves); {
		j := i
		for ; j < len(c.p.Moves) && c.p.Moves[j].Wave == c.p.Moves[i].Wave; j++ {
		}
		wave := c.p.Moves[i:j]
		for _, m := range wave {
			if m.To != "" && c.w.nodes[m.To] != nil {
				c.w.place(m.Instance, m.App, m.To)
			}
		}
		for _, m := range wave {
			if m.To == "" {
				continue
			}
			if wrong := c.w.wrong(m.Instance, m.To, true); len(wrong) > 0 {
				c.bad(m.Instance, "on %s in wave %d: %s", m.To, m.Wave, join(wrong))
			}
		}
		for _, m := range wave {
			if m.From != "" {
				delete(c.w.on[m.From], m.Instance)
			}
			if m.To == "" {
				c.w.ins[m.Instance].Node = ""
			}
		}
		i = j
	}
	for _, m := range c.p.Moves {
		if m.To == "" || c.w.nodes[m.To] == nil || c.w.ins[m.Instance].Node != m.To {
			continue
		}
		if wrong := c.w.wrong(m.Instance, m.To, false); len(wrong) > 0 {
			c.bad(m.Instance, "on %s in the end: %s", m.To, join(wrong))
		}
	}
	for _, app := range slices.Sorted(maps.Keys(c.w.apps)) {
		moved := slices.ContainsFunc(c.p.Moves, func(m snapshot.Move) bool { return m.App == app && m.To != "" })
		if moved && !skewed[app] && len(c.w.apps[app].SpreadOver) > 0 {
			for _, s := range c.w.skews(app) {
				c.bad(app, "in the end %s", s)
			}
		}
	}
}

// together checks that everything that was there and everything that comes fit together: then every subset, in every order, does.
func (c *checker) together() {
	w, err := newWorld(c.w.s)
	if err != nil {
		return
	}
	for _, m := range c.p.Moves {
		if m.To != "" && w.nodes[m.To] != nil {
			if w.ins[m.Instance] == nil {
				w.ins[m.Instance] = &snapshot.Instance{ID: m.Instance, App: m.App}
			}
			w.on[m.To][m.Instance] = true
		}
	}
	for _, m := range c.p.Moves {
		if m.To == "" || w.nodes[m.To] == nil {
			continue
		}
		if wrong := w.wrong(m.Instance, m.To, true); len(wrong) > 0 {
			c.bad(m.Instance, "the plan says that every order does, but on %s: %s", m.To, join(wrong))
		}
	}
}

// pending checks that what has nowhere to go really has not: each node fails a rule once the plan is carried out.
func (c *checker) pending() {
	for _, pd := range c.p.Pending {
		if c.w.ins[pd.Instance] == nil {
			c.w.ins[pd.Instance] = &snapshot.Instance{ID: pd.Instance, App: pd.App}
		}
		codes := map[string]bool{}
		for _, r := range pd.Rejections {
			codes[r.Node] = true
		}
		spread := c.w.apps[pd.App].Mode == "spread"
		for _, id := range slices.Sorted(maps.Keys(c.w.nodes)) {
			if spread && !codes[id] || c.w.ins[pd.Instance].Node == id {
				continue
			}
			if len(c.w.wrong(pd.Instance, id, false)) == 0 && len(c.w.apps[pd.App].SpreadOver) == 0 {
				c.bad(pd.Instance, "is said to have nowhere to go, and %s takes it", id)
			}
			if !codes[id] && len(pd.Rejections) < 200_000 && len(c.p.Pending) < 100 {
				c.bad(pd.Instance, "has nowhere to go, and nothing says why not %s", id)
			}
		}
	}
}

// Orders carries out a subset of the moves in the order given, each arriving before it leaves, and lists what breaks.
func Orders(s *snapshot.State, moves []snapshot.Move) []Violation {
	w, err := newWorld(s)
	if err != nil {
		return []Violation{{"", err.Error()}}
	}
	c := &checker{w: w}
	for _, m := range moves {
		if m.To != "" {
			from := m.From
			w.place(m.Instance, m.App, m.To)
			if wrong := w.wrong(m.Instance, m.To, true); len(wrong) > 0 {
				c.bad(m.Instance, "on %s: %s", m.To, join(wrong))
			}
			if from != "" {
				delete(w.on[from], m.Instance)
			}
			continue
		}
		delete(w.on[m.From], m.Instance)
		w.ins[m.Instance].Node = ""
	}
	slices.SortFunc(c.out, func(x, y Violation) int { return cmp.Compare(x.Instance, y.Instance) })
	return c.out
}

// Broken counts the instances that break a rule together with what is on their node.
func Broken(s *snapshot.State) (count int) {
	w, err := newWorld(s)
	if err != nil {
		return len(s.Instances)
	}
	for id, in := range w.ins {
		if in.Node != "" && open(w.nodes[in.Node]) && len(w.wrong(id, in.Node, false)) > 0 {
			count++
		}
	}
	return count
}
