package migrator

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the present behaviour into testdata; then read the difference")

// TestScenarios plays testdata/*.txt. A scenario is opened by "== title"; "#" comments; ">" is an event that the line before leads
// to and "=" what else is to be seen; every other line is a command, see scenario.do.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			chunks := strings.SplitAfter(string(b), "\n== ")
			for i, chunk := range chunks {
				if i < len(chunks)-1 {
					chunk = strings.TrimSuffix(chunk, "== ")
				}
				if i == 0 {
					got = append(got, chunk)
					continue
				}
				title, body, _ := strings.Cut(chunk, "\n")
				t.Run(title, func(t *testing.T) {
					played := play(t, body)
					got = append(got, "== "+title+"\n"+played)
					if diff := cmp.Diff(body, played); diff != "" && !*update {
						t.Errorf("not what the scenario says (-want +got):\n%s", diff)
					}
				})
			}
			if *update && !t.Failed() {
				if err := os.WriteFile(file, []byte(strings.Join(got, "")), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// play runs a scenario and returns it with what really came of each command.
func play(t *testing.T, body string) string {
	s := &scenario{world: newWorld(t)}
	var out strings.Builder
	for _, text := range strings.SplitAfter(body, "\n") {
		command := strings.TrimSpace(text)
		if strings.HasPrefix(command, ">") || strings.HasPrefix(command, "=") {
			continue
		}
		out.WriteString(text)
		if command == "" || command[0] == '#' {
			continue
		}
		before := len(s.stored)
		seen := s.do(command)
		if !s.held {
			s.settle()
		}
		for _, e := range s.stored[max(before, s.quiet):] {
			if by, _ := events.TypeOf(e.Data); writer(by) == events.Migrator {
				out.WriteString("> " + line(e) + "\n")
			}
		}
		if seen != "" {
			out.WriteString("= " + seen + "\n")
		}
	}
	return out.String()
}

func writer(t events.Type) string {
	for _, r := range events.Registry() {
		if r.Type == t {
			return r.Writer
		}
	}
	return ""
}

type scenario struct {
	*world
	quiet int             // events up to here are not shown
	held  bool            // nothing is decided but on reports
	kept  *api.StepReport // for later
}

// do carries out one command. Those without a node or migration are about the open order.
func (s *scenario) do(command string) string {
	s.t.Helper()
	f := strings.Fields(command)
	rest := strings.TrimSpace(strings.TrimPrefix(command, f[0]))
	switch f[0] {
	case "node": // node <id> [label=value ...]
		s.join(f[1], pairs(f[2:]))
	case "app": // app <name> <mode> [require=... on_isolation=... away_from=... sqlite=... log=...]
		s.declare(appSpec(f[1], f[2], pairs(f[3:])))
	case "run": // run <instance> <node>: placed by a migration that is not shown
		s.run(f[1], f[2])
		s.quiet = len(s.stored)
	case "admit": // admit <migration> <instance> <from|-> <to|-> [standby|keep|sync]: of a standby; the source stays as one; with Sync
		if len(f) > 5 && f[5] == "standby" {
			s.roles = events.Move{Role: events.RoleStandby}
		} else if len(f) > 5 && f[5] == "keep" {
			s.roles = events.Move{Keep: true}
		} else if len(f) > 5 && f[5] == "sync" {
			s.roles = events.Move{Sync: true}
		}
		s.admit(f[1], f[2], f[3], f[4], events.ReasonManual)
		s.roles = events.Move{}
	case "done":
		return s.show(s.report(s.answer(), s.answer().Node))
	case "recovered": // recovered <position> [shipped=<ago> [sure=no]]: ago before now; with it acknowledged writes may be missing
		r, o := s.answer(), pairs(f[2:])
		r.Result = &events.Result{Position: f[1], Checksum: "sum-" + f[1]}
		if ago, err := time.ParseDuration(o["shipped"]); err == nil {
			r.Result.Incomplete, r.Result.Shipped = true, s.now.Add(-ago)
		}
		r.Result.Unsure = o["sure"] == "no"
		return s.show(s.report(r, r.Node))
	case "failed", "released": // with the node's reason; released: nothing runs there under the epoch any more
		r := s.answer()
		r.Failed, r.Code, r.Detail, r.Result = true, "failed", rest, nil
		if f[0] == "released" {
			r.Result = &events.Result{Released: true}
		}
		return s.show(s.report(r, r.Node))
	case "vetoed": // vetoed <code> <reason>: what the hook said
		r := s.answer()
		r.Failed, r.Code, r.Detail = true, f[1], strings.TrimSpace(strings.TrimPrefix(rest, f[1]))
		r.Result = &events.Result{Hook: &events.HookResult{Code: r.Code, Detail: r.Detail}}
		return s.show(s.report(r, r.Node))
	case "forced": // forced <migration>: a person insists on it
		s.v.Migrations[f[1]].Forced = true
	case "veto": // veto <app> <instance>: what the fold keeps of it
		v := s.v.Apps[f[1]].Vetoes[f[2]]
		return fmt.Sprintf("not asked for %s: %s", v.Until.Sub(s.v.Time), v.Detail)
	case "hold":
		s.held = true
	case "go":
		s.held = false
	case "keep": // the node has done the open order, and its report is under way
		s.kept = new(s.answer())
	case "send":
		return s.show(s.report(*s.kept, s.kept.Node))
	case "again": // the last report comes once more
		return s.show(s.report(*s.last, s.last.Node))
	case "report": // report k=v ...: the open order's, with differences
		r, from := s.answer(), ""
		for k, v := range pairs(f[1:]) {
			switch k {
			case "step":
				r.Step = events.Step(v)
			case "node":
				r.Node = v
			case "inc":
				r.Inc = v
			case "app":
				r.App = v
			case "migration":
				r.Migration = v
			case "seq":
				n, _ := strconv.Atoi(v)
				r.OrderSeq = uint64(n)
			case "from":
				from = v
			case "position":
				r.Result = &events.Result{Position: v, Checksum: "sum-" + v}
			}
		}
		if from == "" {
			from = r.Node
		}
		return s.show(s.report(r, from))
	case "late": // the open order's time is up
		if _, o := s.order(); o != nil {
			s.now = o.Deadline
		}
	case "pass": // pass <duration>
		d, err := time.ParseDuration(f[1])
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		s.now = s.now.Add(d)
	case "unsure":
		s.sure = false
	case "sure":
		s.sure = true
	case "clock": // clock <hh:mm:ss>: today
		at, err := time.Parse(time.TimeOnly, f[1])
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		s.now = time.Date(s.now.Year(), s.now.Month(), s.now.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)
	case "window": // window <start> <end>: the policy's only one, in UTC
		var p spec.Policy
		p.Migration.MaintenanceWindows = []spec.TimeWindow{{Start: f[1], End: f[2], Timezone: "UTC"}}
		s.put(events.Draft{Aggregate: events.Cluster("test"), Data: &events.PolicyUpdated{Policy: p.WithDefaults()}})
	case "suspected":
		s.nodeEvent(f[1], &events.NodeSuspected{Node: f[1], Inc: s.v.Nodes[f[1]].Inc})
	case "lost":
		s.lose(f[1], events.LostSilent, len(f) > 2 && f[2] == "confirmed")
	case "rebooted":
		s.lose(f[1], events.LostRebooted, false)
		s.join(f[1], nil)
	case "cordon":
		s.nodeEvent(f[1], &events.NodeCordoned{Node: f[1]})
	case "drain":
		s.nodeEvent(f[1], &events.DrainStarted{Node: f[1], Order: "drain-" + f[1]})
	case "label": // label <node> k=v ...: the whole set
		s.nodeEvent(f[1], &events.NodeLabelsUpdated{Node: f[1], After: pairs(f[2:])})
	case "freeze": // freeze <source>
		s.put(events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesFrozen{Source: f[1], Why: "test"}})
	case "remove":
		s.put(events.Draft{Aggregate: events.App(f[1]), App: f[1], Data: &events.AppRemoved{}})
	case "cancel": // cancel <migration> <why>
		m := s.v.Migrations[f[1]]
		s.put(events.Draft{Aggregate: events.App(m.App), App: m.App, Data: &events.CancelRequested{Ref: m.Ref(), Why: f[2]}})
	case "seen": // seen <node> <app> <epoch>: the node joins anew and has seen that epoch
		n, _ := strconv.ParseUint(f[3], 10, 64)
		s.incs[f[1]]++
		s.nodeEvent(f[1], &events.NodeJoined{Node: f[1], Inc: s.inc(f[1]), Machine: "machine-" + f[1], Epochs: map[string]uint64{f[2]: n},
			Facts: events.Facts{Address: "addr-" + f[1], CPU: 4000, Memory: 1 << 33, Drivers: []string{"process"}}})
	case "lease": // lease <node> [old] [fenced=<epoch> app=<app>] [<instance>=<state>[+healthy]]...: old: before the agent knew
		s.lease(f[1], f[2:])
	case "state":
		return s.state(f[1])
	case "terms": // terms <app>: what its epochs began with and left
		var out []string
		for _, t := range s.v.Apps[f[1]].Terms {
			out = append(out, fmt.Sprintf("e%d on %s %s..%s", t.Epoch, t.Node, t.From, t.Final))
		}
		return strings.Join(out, ", ")
	case "backoff": // backoff <app>
		var out []string
		for n := range s.v.Apps[f[1]].Backoff {
			out = append(out, n)
		}
		return "backs off from " + strings.Join(out, ",")
	case "order":
		if _, o := s.order(); o != nil {
			return fmt.Sprintf("%s@%s within %s", o.Step, o.Node, o.Timeout)
		}
		return "none"
	default:
		s.t.Fatalf("unknown command %q", command)
	}
	return ""
}

func (s *scenario) show(_ *events.Event, what string) string { return what }

func (s *scenario) lease(node string, words []string) {
	l := api.Lease{State: api.LeaseHeld, Node: node, Inc: s.v.Nodes[node].Inc, LogSeq: s.v.Seq}
	for _, word := range words {
		k, v, _ := strings.Cut(word, "=")
		switch {
		case word == "old":
			l.LogSeq = 1
		case word == "closed":
			l.State = api.LeaseClosed
		case word == "foreign":
			l.Inc = "another"
		case k == "fenced":
			app, epoch, _ := strings.Cut(v, ":")
			n, _ := strconv.ParseUint(epoch, 10, 64)
			l.Fenced = append(l.Fenced, api.FencedEpoch{App: app, Instance: app + "-0", Epoch: n})
		default:
			state, healthy := strings.CutSuffix(v, "+healthy")
			l.Instances = append(l.Instances, api.InstanceHealth{ID: k, App: appOf(k), State: state, Healthy: healthy})
		}
	}
	seq := s.leases[node].Seq + 1
	s.leases[node] = services.SeenLease{LeaseRecord: transport.LeaseRecord{Lease: l, Seq: seq}}
}

func pairs(words []string) map[string]string {
	out := map[string]string{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		out[k] = v
	}
	return out
}

func appSpec(name, mode string, o map[string]string) spec.App {
	a := spec.App{Name: name, Mode: spec.Mode(mode), OnIsolation: o["on_isolation"]}
	if h := o["hooks"]; h != "" {
		a.Hooks = map[string]spec.HookRef{}
		for _, name := range strings.Split(h, ",") {
			a.Hooks[name] = spec.HookRef{Command: []string{"hook"}}
		}
	}
	if r := o["require"]; r != "" {
		a.Require = []string{r}
	}
	a.SQLite, a.Log = o["sqlite"], o["log"] != ""
	a.Standbys, _ = strconv.Atoi(o["standbys"])
	if x := o["away_from"]; x != "" {
		a.AwayFromApp = []string{x}
	}
	return a
}
