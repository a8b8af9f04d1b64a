package events

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSubjectsAreTheDocumentedOnes(t *testing.T) {
	s, err := NewSubjects("prod")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		s.Event(App("convex"), "placement.migration.started", ""):    "gc.prod.evt.app.convex.placement.migration.started",
		s.Event(App("convex"), "placement.step.requested", "node-5"): "gc.prod.evt.app.convex.placement.step.requested.node-5",
		s.Event(Node("node-2"), "node.labels.updated", ""):           "gc.prod.evt.node.node-2.node.labels.updated",
		s.Event(Request(Planner), "placement.request.refused", ""):   "gc.prod.evt.request.planner.placement.request.refused",
		s.Aggregate(Cluster("prod")):                                 "gc.prod.evt.cluster.prod.>",
		s.Addressed("node-5"):                                        "gc.prod.evt.*.*.*.*.*.node-5",
		s.Events():                                                   "gc.prod.evt.>",
		s.Report("node-5", "step", "done"):                           "gc.prod.rep.node-5.step.done",
		s.Reports():                                                  "gc.prod.rep.>",
		s.Lease("node-5"):                                            "gc.prod.lease.node-5",
		s.Leases():                                                   "gc.prod.lease.*",
		s.Beat(Labeler, "a1"):                                        "gc.prod.beat.labeler.a1",
		s.Beats():                                                    "gc.prod.beat.*.*",
		s.API("app", "apply"):                                        "gc.prod.api.app.apply",
		s.EventsStream() + " " + s.ReportsStream() + " " + s.LeasesStream(): "GC_prod_EVENTS GC_prod_REPORTS GC_prod_LEASES",
		s.Cluster(): "prod",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestClusterNamesThatAreNoToken(t *testing.T) {
	for _, name := range []string{"", "*", ">", "a.b", "A", "a b", "-a", "a-", "a_b", "é", strings.Repeat("a", 64)} {
		if _, err := NewSubjects(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

// A subject that the grammar does not make is refused whole: nothing is trimmed, folded to lower case or ignored.
func TestEventSubjectsThatAreRefused(t *testing.T) {
	const good = "gc.prod.evt.app.convex.placement.migration.started"
	if _, err := ParseEventSubject(good); err != nil {
		t.Fatal(err)
	}
	for why, subject := range map[string]string{
		"empty":                       "",
		"no tokens":                   "........",
		"another system":              "gx.prod.evt.app.convex.placement.migration.started",
		"another branch":              "gc.prod.rep.app.convex.placement.migration.started",
		"two type tokens":             "gc.prod.evt.app.convex.placement.migration",
		"two targets":                 good + ".node-1.node-2",
		"empty target":                good + ".",
		"wildcard target":             good + ".*",
		"tail wildcard target":        good + ".>",
		"upper-case target":           good + ".Node-1",
		"underscore in target":        good + ".node_1",
		"wildcard cluster":            "gc.*.evt.app.convex.placement.migration.started",
		"upper-case cluster":          "gc.Prod.evt.app.convex.placement.migration.started",
		"empty cluster":               "gc..evt.app.convex.placement.migration.started",
		"wildcard kind":               "gc.prod.evt.*.convex.placement.migration.started",
		"unknown kind":                "gc.prod.evt.zone.a.placement.migration.started",
		"upper-case kind":             "gc.prod.evt.App.convex.placement.migration.started",
		"wildcard id":                 "gc.prod.evt.app.*.placement.migration.started",
		"tail wildcard as id":         "gc.prod.evt.app.>.placement.migration.started",
		"empty id":                    "gc.prod.evt.app..placement.migration.started",
		"upper-case id":               "gc.prod.evt.app.Convex.placement.migration.started",
		"id of 64 bytes":              "gc.prod.evt.app." + strings.Repeat("a", 64) + ".placement.migration.started",
		"id with a control character": "gc.prod.evt.app.con\x01vex.placement.migration.started",
		"id that is not ASCII":        "gc.prod.evt.app.cönvex.placement.migration.started",
		"id with a space":             "gc.prod.evt.app.con vex.placement.migration.started",
		"a second cluster aggregate":  "gc.prod.evt.cluster.other.cluster.policy.updated",
		"upper-case type":             "gc.prod.evt.app.convex.placement.Migration.started",
		"digit in type":               "gc.prod.evt.app.convex.placement.migration2.started",
		"dash in type":                "gc.prod.evt.app.convex.placement.migration.step-down",
		"wildcard in type":            "gc.prod.evt.app.convex.placement.*.started",
		"tail wildcard in type":       "gc.prod.evt.app.convex.placement.migration.>",
		"empty type token":            "gc.prod.evt.app.convex.placement..started",
		"space before":                " " + good,
		"line feed after":             good + "\n",
	} {
		if at, err := ParseEventSubject(subject); err == nil {
			t.Errorf("%s: %q is accepted as %+v", why, subject, at)
		} else if !strings.Contains(err.Error(), "subject ") {
			t.Errorf("%s: the error does not name the subject: %v", why, err)
		}
	}
}

func TestReportSubjectsThatAreRefused(t *testing.T) {
	for _, subject := range []string{"", "gc.prod.rep.node-1.step", "gc.prod.rep.node-1.step.done.more", "gc.prod.rep.*.step.done", "gc.prod.rep.Node.step.done",
		"gc.prod.rep..step.done", "gc.prod.rep.node-1.*.done", "gc.prod.rep.node-1.step.>", "gc.prod.rep.node-1..done", "gc.prod.rep.node-1.step.", "gc.prod.evt.node-1.step.done",
		"gx.prod.rep.node-1.step.done", "gc.*.rep.node-1.step.done", "gc..rep.node-1.step.done"} {
		if node, noun, verb, err := ParseReportSubject(subject); err == nil {
			t.Errorf("%q is accepted as %s %s %s", subject, node, noun, verb)
		}
	}
}

// names and typeTokens make what the grammar allows, and all of it.
var (
	names      = rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`)
	typeTokens = rapid.StringMatching(`[a-z_]{1,20}`)
)

func TestEventSubjectsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewSubjects(names.Draw(t, "cluster"))
		if err != nil {
			t.Fatal(err)
		}
		want := At{
			Cluster: s.Cluster(), Aggregate: Aggregate{rapid.SampledFrom([]Kind{KindNode, KindApp, KindCluster, KindRequest, KindAudit}).Draw(t, "kind"), names.Draw(t, "id")},
			Type: Type(typeTokens.Draw(t, "category") + "." + typeTokens.Draw(t, "noun") + "." + typeTokens.Draw(t, "verb")),
		}
		if want.Aggregate.Kind == KindCluster {
			want.Aggregate.ID = want.Cluster
		}
		if rapid.Bool().Draw(t, "addressed") {
			want.Target = names.Draw(t, "target")
		}
		got, err := ParseEventSubject(s.Event(want.Aggregate, want.Type, want.Target))
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestReportSubjectsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewSubjects(names.Draw(t, "cluster"))
		if err != nil {
			t.Fatal(err)
		}
		n, o, v := names.Draw(t, "node"), typeTokens.Draw(t, "noun"), typeTokens.Draw(t, "verb")
		node, noun, verb, err := ParseReportSubject(s.Report(n, o, v))
		if err != nil || node != n || noun != o || verb != v {
			t.Fatalf("got %s %s %s, %v, want %s %s %s", node, noun, verb, err, n, o, v)
		}
	})
}

// What is parsed is exactly what is made again: no two subjects mean the same.
func FuzzParseEventSubject(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.event().subject())
	}
	f.Add("gc.prod.evt.app.*.placement.migration.>")
	f.Fuzz(func(t *testing.T, subject string) {
		at, err := ParseEventSubject(subject)
		if err != nil {
			return
		}
		s, err := NewSubjects(at.Cluster)
		if err != nil {
			t.Fatalf("%q has a cluster that is none: %v", subject, err)
		}
		if again := s.Event(at.Aggregate, at.Type, at.Target); again != subject {
			t.Fatalf("%q is read as %+v, which stands on %q", subject, at, again)
		}
		if strings.ContainsAny(subject, "*> \t\r\n") {
			t.Fatalf("%q is accepted", subject)
		}
	})
}

func FuzzParseReportSubject(f *testing.F) {
	f.Add("gc.prod.rep.node-1.step.done")
	f.Add("gc.*.rep.node-1.step.done")
	f.Fuzz(func(t *testing.T, subject string) {
		node, noun, verb, err := ParseReportSubject(subject)
		if err != nil {
			return
		}
		s, err := NewSubjects(strings.Split(subject, ".")[1])
		if err != nil {
			t.Fatalf("%q has a cluster that is none: %v", subject, err)
		}
		if again := s.Report(node, noun, verb); again != subject {
			t.Fatalf("%q is read as %q", subject, again)
		}
	})
}
