package placement

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

var update = flag.Bool("update", false, "write the scenarios' results; commit the difference only if you understand it")

// TestScenarios plays testdata/*.txt. A block is commands, a line of four dashes, and what the last command prints:
//
//	node n1 role=a zone=b cpu=4 mem=8Gi   a node joins, with labels and capacity; again: a new incarnation; machine=other: of another machine; vip=eth0,eth1: carries addresses there
//	label n1 role=c                       its labels become exactly these
//	cordon n1 · uncordon n1 · drain n1 · undrain n1 · suspect n1 · lost n1
//	evacuate zone=a
//	load n1 0.9
//	copy NAME n2 e1:7 lag=1s error=why    what the node says of the copy that it has of the app's data
//	show NAME                             prints where it and its standbys are
//	app NAME singleton|replicas=N key=value…   applied; keys: require prefer on_nodes away with over cpu mem port vip on_invalid on_isolation sqlite standbys
//	                                           (commas separate several), generation=roll changes the process
//	remove NAME · restart NAME
//	run NAME-0 n1                         placed there, running
//	fail NAME-0 n1                        the node gave it up
//	frozen operator|safety
//	policy {…}                            the whole policy, in YAML
//	hold                                  stores what the last plan holds, as the planner does
//	approve NAME-0 · deny NAME-0          an operator's word on a proposal
//	at 10s                                time goes on
//	plan                                  prints what should change
//	suppose n1 role=c                     prints what should change if the node's labels became exactly these
//	admit · start NAME-0 · step-down NAME-0   what was planned is admitted and goes on so far
//	relax NAME…                           prints what would give these apps a place
//	carry-out                             admits and completes every move of the last plan, then plans again
//	ask NAME from=n1 to=n2                prints what a move asked for by hand would do
//	balance [NAME…]                       prints a rebalance
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(want), got); d != "" && !*update {
				t.Errorf("%s (-want +got):\n%s", f, d)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	s := newScene()
	s.live = &Live{}
	var out bytes.Buffer
	skipping := false
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "----":
			fmt.Fprintf(&out, "----\n%s", s.out.String())
			s.out.Reset()
			skipping = true
		case skipping && trimmed != "":
		default:
			skipping = false
			out.WriteString(line)
			if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
				if err := s.do(strings.Fields(trimmed)); err != nil {
					t.Fatalf("%s: %v", trimmed, err)
				}
			}
		}
	}
	return out.String()
}

// scene is a cluster made of events, as the log would have them.
type scene struct {
	v     *projections.Cluster
	now   time.Time
	loads map[string]api.Sight
	last  Plan
	log   []events.Message
	out   bytes.Buffer
	live  *Live
}

func newScene() *scene {
	return &scene{v: projections.NewCluster("test"), now: time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC), loads: map[string]api.Sight{}}
}

// add stores an event: the next of its aggregate.
func (s *scene) add(agg events.Aggregate, data any) {
	t, err := events.TypeOf(data)
	if err != nil {
		panic(err)
	}
	head, seq := s.v.Head(agg), s.v.Seq+1
	s.log = append(s.log, events.Message{Event: events.Event{ID: fmt.Sprintf("e%d", seq), Type: t, V: 1, Rev: head.Rev + 1, Prev: head.Hash, Seq: seq, Stored: s.now,
		Hash: fmt.Sprintf("h%d", seq), Aggregate: agg, Correlation: fmt.Sprintf("c%d", seq), Data: data}})
	s.v.Apply(s.log[len(s.log)-1])
	if s.live != nil {
		s.compare()
	}
}

// compare has what was planned all along planned from nothing: it has to be the same, on a cluster without what only waits for its turn.
func (s *scene) compare() {
	line := s.live.placing.known
	waited := maps.Clone(line)
	for node, sight := range s.loads {
		s.live.Hear(node, sight)
	}
	live, w := s.live.Plan(s.v, s.now), *s.v
	if reflect.ValueOf(line).Pointer() != reflect.ValueOf(s.live.placing.known).Pointer() {
		waited = nil // it began anew, and looked at all
	}
	w.Apps = maps.Clone(s.v.Apps)
	for name := range waited {
		a := w.Apps[name]
		if known, waits := s.live.placing.known[name]; !waits || known && !waited[name] || a.Applied.Seq == s.v.Seq {
			continue // it was looked at
		}
		if len(a.Instances)+len(a.Open) > 0 {
			return
		}
		delete(w.Apps, name)
	}
	told := func(p Plan) Plan {
		p.Held = slices.DeleteFunc(slices.Clone(p.Held), func(h Held) bool { return h.Passing && OnlyTurn(h.Holds) })
		p.Moves = slices.DeleteFunc(slices.Clone(p.Moves), func(d Decision) bool { // it has lost its place, which is found out at its turn
			_, waits := s.live.moving.known[d.App]
			return waits && d.To == ""
		})
		p.Pending = slices.DeleteFunc(slices.Clone(p.Pending), func(x Pending) bool { // told before, or not known yet
			_, waits := s.live.moving.known[x.App]
			return waits || s.v.Apps[x.App].Pending != nil
		})
		return p
	}
	if d := cmp.Diff(told(Make(&w, s.loads, s.now)), told(live), cmpopts.EquateEmpty()); d != "" {
		panic(fmt.Sprintf("after event %d (%s) the live plan is another (-made +live):\n%s", s.v.Seq, s.log[len(s.log)-1].Event.Type, d))
	}
	s.even()
}

// even has what is called even have no rebalance, be the policy as eager as can be.
func (s *scene) even() {
	if !s.live.Even() {
		return
	}
	w := *s.v
	w.Policy.AutoRebalance = spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.001}
	if p := AutoBalance(&w, s.now); len(p.Moves) > 0 {
		panic(fmt.Sprintf("after event %d it is even, and the proposal is %+v", s.v.Seq, p))
	}
}

func (s *scene) do(f []string) error {
	node := func(i int) events.Aggregate { return events.Node(f[i]) }
	switch f[0] {
	case "node":
		facts := events.Facts{Address: f[1] + ".test", Drivers: []string{"process"}, CPU: 4000, Memory: 8 << 30}
		labels := map[string]string{}
		for _, kv := range f[2:] {
			k, val, _ := strings.Cut(kv, "=")
			switch k {
			case "cpu":
				if err := facts.CPU.UnmarshalText([]byte(val)); err != nil {
					return err
				}
			case "mem":
				if err := facts.Memory.UnmarshalText([]byte(val)); err != nil {
					return err
				}
			case "host":
				facts.Address = val
			case "code":
				for name := range strings.SplitSeq(val, ",") {
					facts.Apps = append(facts.Apps, spec.App{Name: name})
				}
			case "vip":
				facts.VIP = &events.VIPFacts{Interfaces: strings.Split(val, ",")}
			default:
				labels[k] = val
			}
		}
		inc, machine := f[1]+"/1", "m-"+f[1]
		if other, is := labels["machine"]; is {
			machine = other
			delete(labels, "machine")
		}
		if n := s.v.Nodes[f[1]]; n != nil {
			inc += "+"
		}
		s.add(node(1), &events.NodeJoined{Node: f[1], Inc: inc, Machine: machine, Facts: facts})
		if len(labels) > 0 {
			s.add(node(1), &events.NodeLabelsUpdated{Node: f[1], After: labels})
		}
	case "label":
		c, err := spec.ParseLabelChange(f[2:])
		if err != nil {
			return err
		}
		s.add(node(1), &events.NodeLabelsUpdated{Node: f[1], Before: s.v.Nodes[f[1]].Labels, After: c.Set})
	case "cordon":
		s.add(node(1), &events.NodeCordoned{Node: f[1]})
	case "uncordon":
		s.add(node(1), &events.NodeUncordoned{Node: f[1]})
	case "drain":
		s.add(node(1), &events.DrainStarted{Node: f[1], Order: "d-" + f[1]})
	case "undrain":
		s.add(node(1), &events.DrainCancelled{Node: f[1]})
		s.add(node(1), &events.NodeUncordoned{Node: f[1]})
	case "suspect":
		s.add(node(1), &events.NodeSuspected{Node: f[1], Inc: s.v.Nodes[f[1]].Inc})
	case "lost":
		s.add(node(1), &events.NodeLost{Node: f[1], Inc: s.v.Nodes[f[1]].Inc, Reason: events.LostSilent, Confirmed: len(f) > 2})
	case "evacuate":
		s.add(events.Cluster("test"), &events.EvacuationStarted{Order: "e-1", Selector: f[1]})
	case "load":
		v, err := strconv.ParseFloat(f[2], 64)
		s.loads[f[1]] = api.Sight{Load: api.Load{CPU: v}, Data: s.loads[f[1]].Data}
		return err
	case "copy":
		data := api.DataHealth{Position: f[3]}
		for _, kv := range f[4:] {
			switch k, val, _ := strings.Cut(kv, "="); k {
			case "lag":
				d, err := time.ParseDuration(val)
				if err != nil {
					return err
				}
				data.LagMS = d.Milliseconds()
			case "error":
				data.Error = val
			}
		}
		s.loads[f[2]] = api.Sight{Load: s.loads[f[2]].Load, Data: map[string]api.DataHealth{f[1]: data}}
	case "show":
		s.shows(f[1])
	case "frozen":
		s.add(events.Cluster("test"), &events.MovesFrozen{Source: f[1], Why: "said so"})
	case "policy":
		p, err := spec.DecodePolicy([]byte(strings.Join(f[1:], " ")))
		if err != nil {
			return err
		}
		s.add(events.Cluster("test"), &events.PolicyUpdated{Policy: p.WithDefaults()})
	case "hold":
		for _, h := range s.last.Held {
			s.hold(h)
		}
	case "approve", "deny":
		for _, m := range s.v.SortedMigrations() {
			if m.Instance == f[1] && m.Status == projections.MigrationHeld {
				var data any = &events.MigrationApproved{Ref: m.Ref()}
				if f[0] == "deny" {
					data = &events.MigrationDenied{Ref: m.Ref()}
				}
				s.add(events.App(m.App), data)
			}
		}
	case "at":
		d, err := time.ParseDuration(f[1])
		s.now = s.now.Add(d)
		return err
	case "app":
		return s.app(f[1], f[2], f[3:])
	case "remove":
		s.add(events.App(f[1]), &events.AppRemoved{})
	case "restart":
		s.add(events.App(f[1]), &events.AppRestartRequested{Generation: s.v.Apps[f[1]].Generation + 1})
	case "run":
		app := f[1][:strings.LastIndexByte(f[1], '-')]
		if s.v.Apps[app] == nil {
			app = strings.TrimSuffix(f[1], "-"+f[2])
		}
		n := s.v.Nodes[f[2]]
		s.admit(events.Move{App: app, Instance: f[1], SpecRev: s.v.Apps[app].SpecRev, To: n.ID, ToInc: n.Inc, Reason: events.ReasonSpecUpdate, Trigger: events.TriggerAutomatic})
	case "fail":
		app := f[1][:strings.LastIndexByte(f[1], '-')]
		if s.v.Apps[app] == nil {
			app = strings.TrimSuffix(f[1], "-"+f[2])
		}
		s.add(events.App(app), &events.InstanceFailed{Instance: f[1], Node: f[2], Detail: "exit status 1, 3 restarts used up"})
	case "plan":
		s.last = Make(s.v, s.loads, s.now)
		s.print(s.last)
	case "carry-out":
		for _, d := range s.last.Moves {
			s.admit(d.Move)
		}
		for _, p := range s.last.Pending {
			if s.v.Apps[p.App].Pending == nil {
				s.add(events.App(p.App), &events.PlacementInvalid{Instance: p.Instance, Code: p.Code, Missing: p.Missing})
			}
		}
		for _, ok := range s.last.Satisfied {
			s.add(events.App(ok.App), &events.PlacementSatisfied{})
		}
		s.last = Make(s.v, s.loads, s.now)
		s.print(s.last)
	case "admit": // what was planned is admitted, and has not started yet
		for i, d := range s.last.Moves {
			d.Migration = fmt.Sprintf("m%d-%d", s.v.Seq+1, i)
			s.add(events.Cluster("test"), &events.PlanAdmitted{Plan: "p", Moves: []events.Move{d.Move}})
		}
	case "start", "step-down":
		s.start(f[1], f[0])
	case "suppose":
		c, err := spec.ParseLabelChange(f[2:])
		if err != nil {
			return err
		}
		w := *s.v
		w.Nodes = maps.Clone(s.v.Nodes)
		(&alteration{v: &w}).node(f[1], func(n *projections.Node) {
			n.Labels, n.Labelled = c.Set, projections.Cause{ID: "supposed", Seq: s.v.Seq + 1}
		})
		s.print(Make(WithoutMoot(s.v, &w), s.loads, s.now))
	case "relax":
		for _, pd := range Make(s.v, s.loads, s.now).Pending {
			if !slices.Contains(f[1:], pd.App) {
				continue
			}
			fmt.Fprintf(&s.out, "%s has nowhere to go\n", pd.Instance)
			for _, r := range Relax(s.v, s.loads, s.now, pd) {
				fmt.Fprintf(&s.out, "  it would have a place: %s (%s)\n", r.Detail, strings.Join(r.Codes, ", "))
				for _, c := range r.Commands {
					fmt.Fprintf(&s.out, "    %s\n", c)
				}
			}
		}
	case "ask":
		return s.ask(f[1], f[2:])
	case "balance":
		p := Balance(s.v, f[1:])
		fmt.Fprintf(&s.out, "imbalance %.2f → %.2f\n", p.Before, p.After)
		for _, m := range p.Moves {
			fmt.Fprintf(&s.out, "%s %s → %s: %s\n", m.Instance, m.From, m.To, m.Why)
		}
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (s *scene) app(name, mode string, keys []string) error {
	a := spec.App{Name: name, Mode: spec.Mode(mode), Process: &spec.Process{Command: []string{"/bin/true"}}}
	if n, ok := strings.CutPrefix(mode, "replicas="); ok {
		count, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		a.Mode, a.Replicas = spec.Replicas, &count
	}
	old := s.v.Apps[name]
	e := &events.AppApplied{SpecRev: 1, Generation: 1}
	if old != nil {
		e.SpecRev, e.Generation = old.SpecRev+1, old.Generation
	}
	for _, kv := range keys {
		k, val, _ := strings.Cut(kv, "=")
		list := strings.Split(val, ",")
		switch k {
		case "require":
			a.Require = strings.Split(val, ";")
		case "prefer":
			for _, p := range list {
				what, weight, _ := strings.Cut(p, ":")
				w, err := strconv.Atoi(weight)
				if err != nil {
					return err
				}
				a.Prefer = append(a.Prefer, spec.Preference{Label: what, Weight: w})
			}
		case "on_nodes":
			a.OnNodes = list
		case "away":
			a.AwayFromApp = list
		case "with":
			a.WithApp = list
		case "over":
			for _, so := range list {
				label, skew, _ := strings.Cut(so, ":")
				n, err := strconv.Atoi(skew)
				if err != nil {
					return err
				}
				a.SpreadOver = append(a.SpreadOver, spec.SpreadOver{Label: label, MaxSkew: n})
			}
		case "cpu":
			if err := a.Resources.CPU.UnmarshalText([]byte(val)); err != nil {
				return err
			}
		case "mem":
			if err := a.Resources.Memory.UnmarshalText([]byte(val)); err != nil {
				return err
			}
		case "port":
			p, err := strconv.Atoi(val)
			if err != nil {
				return err
			}
			a.Ports = map[string]int{"http": p}
		case "vip":
			address, iface, _ := strings.Cut(val, "@")
			a.VIP = &spec.VIP{Address: address, Interface: iface}
		case "max_unavailable", "min_healthy":
			n, err := strconv.Atoi(val)
			if err != nil {
				return err
			}
			if k == "min_healthy" {
				a.Migration.MinHealthy = n
			} else {
				a.MaxUnavail = n
			}
		case "on_invalid":
			a.OnInvalid = val
		case "on_isolation":
			a.OnIsolation = val
		case "sqlite":
			a.SQLite = val
		case "standbys":
			n, err := strconv.Atoi(val)
			if err != nil {
				return err
			}
			a.Standbys = n
		case "log":
			a.Log = true
		case "code":
			a.Process = nil
		case "generation":
			e.Generation++
		default:
			return fmt.Errorf("no such key %s", k)
		}
	}
	if err := a.Validate(); err != nil {
		return err
	}
	e.Spec = a.WithDefaults()
	s.add(events.App(name), e)
	return nil
}

// hold stores a proposal.
func (s *scene) hold(h Held) {
	m := h.Move
	if h.Passing {
		return
	}
	if m.Migration == "" {
		m.Migration = fmt.Sprintf("m%d", s.v.Seq+1)
	}
	if slices.ContainsFunc(h.Holds, func(h events.Hold) bool { return h.Rule == events.HoldApproval }) {
		s.add(events.App(m.App), &events.MigrationPlanned{Ref: m.Ref(), Move: m, Holds: h.Holds, Expires: s.now.Add(time.Hour)})
		return
	}
	s.add(events.App(m.App), &events.MigrationHeld{Ref: m.Ref(), Move: m, Holds: h.Holds})
}

// admit stores a move from its admission to its end.
func (s *scene) admit(m events.Move) {
	if m.Migration == "" {
		m.Migration = fmt.Sprintf("m%d", s.v.Seq+1)
	}
	s.add(events.Cluster("test"), &events.PlanAdmitted{Plan: "p", Moves: []events.Move{m}})
	a, agg := s.v.Apps[m.App], events.App(m.App)
	s.add(agg, &events.MigrationStarted{Ref: m.Ref(), Role: m.Role, Keep: m.Keep, Kind: m.Kind(), SpecRev: m.SpecRev, Generation: a.Generation, FromInc: m.FromInc, ToInc: m.ToInc})
	if a.Spec.Mode == spec.Singleton && m.To != "" && !m.Standby() {
		s.add(agg, &events.LeadershipGranted{Ref: m.Ref(), Epoch: a.Epoch + 1, Node: m.To, Inc: m.ToInc})
		s.add(agg, &events.LeadershipActivated{Ref: m.Ref(), Epoch: a.Epoch, Node: m.To, Inc: m.ToInc})
	}
	s.add(agg, &events.MigrationCompleted{Ref: m.Ref()})
}

// start takes the open move of an instance to its first step, and with "step-down" to where its source may have stepped down.
func (s *scene) start(instance, to string) {
	for _, a := range s.v.Apps {
		for _, m := range a.Main() {
			if m.Instance != instance {
				continue
			}
			next := &events.Next{Step: events.StepPrepare, Node: m.To, Inc: m.ToInc}
			if to == "step-down" {
				next = &events.Next{Step: events.StepStepDown, Node: m.From, Inc: m.FromInc}
			}
			s.add(events.App(a.Name), &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: m.SpecRev, Generation: a.Generation, FromInc: m.FromInc, ToInc: m.ToInc, Next: next})
		}
	}
}

func (s *scene) ask(app string, keys []string) error {
	r := Request{App: app}
	for _, kv := range keys {
		switch k, val, _ := strings.Cut(kv, "="); k {
		case "from":
			r.From = val
		case "to":
			r.To = val
		case "force":
			r.Force = true
		case "sync":
			r.Sync = true
		}
	}
	d, refused := One(s.v, s.loads, s.now, r)
	switch {
	case refused != nil:
		fmt.Fprintf(&s.out, "%s: %s\n", refused.Code, strings.ReplaceAll(refused.Error(), "\n", "\n"))
	case d.To == "":
		fmt.Fprintf(&s.out, "%s is there already\n", d.Instance)
	default:
		with := func(m events.Move) string {
			if m.Sync {
				return " with sync"
			}
			return ""
		}
		fmt.Fprintf(&s.out, "move %s %s → %s%s\n", d.Instance, d.From, d.To, with(d.Move))
		for _, along := range d.Along {
			fmt.Fprintf(&s.out, "move %s %s → %s%s: %s\n", along.Instance, along.From, along.To, with(along.Move), along.Why)
		}
	}
	return nil
}

func (s *scene) print(p Plan) {
	if len(p.Moves)+len(p.Held)+len(p.Pending)+len(p.Satisfied) == 0 {
		fmt.Fprintln(&s.out, "(nothing)")
	}
	for _, d := range p.Moves {
		switch d.Kind() {
		case events.KindPlace:
			fmt.Fprintf(&s.out, "place %s on %s", standbyNamed(d.Move), d.To)
		case events.KindStop:
			fmt.Fprintf(&s.out, "stop %s on %s", standbyNamed(d.Move), d.From)
		case events.KindInPlace:
			fmt.Fprintf(&s.out, "restart %s on %s", d.Instance, d.To)
		default:
			fmt.Fprintf(&s.out, "move %s %s → %s", d.Instance, d.From, d.To)
		}
		fmt.Fprintf(&s.out, " (%s, %s, %s)", d.Reason, d.Trigger, d.Class)
		if d.Why != "" {
			fmt.Fprintf(&s.out, ": %s", d.Why)
		}
		if d.Keep {
			fmt.Fprintf(&s.out, "; %s stays as a standby", d.From)
		}
		fmt.Fprintln(&s.out)
		refusals(&s.out, flat(d.Refused))
	}
	for _, h := range p.Held {
		fmt.Fprintf(&s.out, "held %s %s → %s (%s, %s)\n", h.Instance, or(h.From, "nowhere"), or(h.To, "nowhere"), h.Reason, h.Trigger)
		for _, why := range h.Holds {
			fmt.Fprintf(&s.out, "  %s\n", projections.HoldsLine([]events.Hold{why}))
		}
	}
	for _, pd := range p.Pending {
		fmt.Fprintf(&s.out, "pending %s (%s): %s\n", pd.Instance, pd.Code, pd.Reason)
		refusals(&s.out, pd.Refused)
	}
	for _, ok := range p.Satisfied {
		fmt.Fprintf(&s.out, "satisfied %s\n", ok.App)
	}
	if !p.Wake.IsZero() {
		fmt.Fprintf(&s.out, "again in %s\n", p.Wake.Sub(s.now))
	}
}

func standbyNamed(m events.Move) string {
	if m.Standby() {
		return "standby " + m.Instance
	}
	return m.Instance
}

// shows prints where the instances and the standbys of an app are, and why there are fewer standbys than there should be.
func (s *scene) shows(app string) {
	a := s.v.Apps[app]
	for _, in := range a.SortedInstances() {
		fmt.Fprintf(&s.out, "%s on %s, %s\n", in.ID, in.Node, in.Role)
	}
	for _, in := range a.SortedStandbys() {
		fmt.Fprintf(&s.out, "%s on %s, %s\n", in.ID, in.Node, in.Role)
	}
	if why, _ := Standbys(s.v, a, s.now); why != "" {
		fmt.Fprintln(&s.out, why)
	}
}

// flat lists what refusals group by rule, node by node.
func flat(refused Refusals) (out []events.Rejection) {
	rank := []string{events.RuleNotReady, events.RuleCordoned, events.RuleDraining, events.RuleEvacuated, events.RuleDriver, events.RuleLabel, events.RuleCode, events.RuleOnNodes,
		events.RuleOccupied, events.RuleName, events.RuleAwayFrom, events.RuleWith, events.RuleSpread, events.RuleCPU, events.RuleMemory}
	for _, f := range refused {
		out = append(out, f.First...)
	}
	slices.SortStableFunc(out, func(x, y events.Rejection) int {
		at := func(r events.Rejection) int {
			if i := slices.Index(rank, r.Code); i >= 0 {
				return i
			}
			return len(rank)
		}
		if c := strings.Compare(x.Node, y.Node); c != 0 {
			return c
		}
		return at(x) - at(y)
	})
	return out
}

func refusals(out *bytes.Buffer, refused []events.Rejection) {
	for _, r := range slices.Clone(refused) {
		fmt.Fprintf(out, "  %s: %s\n", r.Node, r.Detail)
	}
}
