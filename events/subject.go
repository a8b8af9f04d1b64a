package events

import (
	"fmt"
	"strings"

	"github.com/go-cluster/go-cluster/spec"
)

// Subjects is the subject grammar of one cluster, both ways. Each name in it has been validated as one NATS token, so nothing is
// ever escaped.
//
//	gc.<cluster>.evt.<kind>.<id>.<category>.<noun>.<verb>[.<node>]   events
//	gc.<cluster>.rep.<node>.<noun>.<verb>                            reports
//	gc.<cluster>.lease.<node>                                        leases
//	gc.<cluster>.beat.<service>.<replica>                            heartbeats of the labelers
//	gc.<cluster>.api.<noun>.<verb>                                   commands and questions
type Subjects struct{ cluster string }

// NewSubjects returns the grammar of a cluster.
func NewSubjects(cluster string) (Subjects, error) {
	if err := spec.ValidateName("cluster", cluster); err != nil {
		return Subjects{}, err
	}
	return Subjects{cluster}, nil
}

// Cluster returns the cluster's name.
func (s Subjects) Cluster() string { return s.cluster }

func (s Subjects) join(tokens ...string) string {
	return "gc." + s.cluster + "." + strings.Join(tokens, ".")
}

// Event returns the subject of an event; target may be "".
func (s Subjects) Event(a Aggregate, t Type, target string) string {
	if target == "" {
		return "gc." + s.cluster + ".evt." + string(a.Kind) + "." + a.ID + "." + string(t)
	}
	return "gc." + s.cluster + ".evt." + string(a.Kind) + "." + a.ID + "." + string(t) + "." + target
}

// Aggregate returns the filter of all events of an aggregate: the one string every guard on it uses.
func (s Subjects) Aggregate(a Aggregate) string {
	return "gc." + s.cluster + ".evt." + string(a.Kind) + "." + a.ID + ".>"
}

// Membership returns the filter of the events that say which incarnation a node is, and whether it lives.
func (s Subjects) Membership(node string) string {
	return s.join("evt", string(KindNode), node, "node", "membership", ">")
}

// OfType returns the filter of all events of one type that are addressed to nobody, whatever they are about.
func (s Subjects) OfType(k Kind, t Type) string { return s.join("evt", string(k), "*", string(t)) }

// Addressed returns the filter of all events addressed to a node.
func (s Subjects) Addressed(node string) string { return s.join("evt", "*", "*", "*", "*", "*", node) }

// Events returns the filter of all events.
func (s Subjects) Events() string { return s.join("evt", ">") }

// Report returns the subject of a report.
func (s Subjects) Report(node, noun, verb string) string { return s.join("rep", node, noun, verb) }

// Reports returns the filter of all reports.
func (s Subjects) Reports() string { return s.join("rep", ">") }

// Lease returns the subject of a node's lease.
func (s Subjects) Lease(node string) string { return s.join("lease", node) }

// Leases returns the filter of all leases.
func (s Subjects) Leases() string { return s.join("lease", "*") }

// Beat returns the subject of a replica's heartbeat.
func (s Subjects) Beat(service, replica string) string { return s.join("beat", service, replica) }

// Beats returns the filter of all heartbeats.
func (s Subjects) Beats() string { return s.join("beat", "*", "*") }

// API returns the subject of a command or question.
func (s Subjects) API(noun, verb string) string { return s.join("api", noun, verb) }

// EventsStream, ReportsStream and LeasesStream are the names of the cluster's streams.
func (s Subjects) EventsStream() string { return "GC_" + s.cluster + "_EVENTS" }

// ReportsStream is the stream of reports.
func (s Subjects) ReportsStream() string { return "GC_" + s.cluster + "_REPORTS" }

// LeasesStream is the stream of leases and heartbeats.
func (s Subjects) LeasesStream() string { return "GC_" + s.cluster + "_LEASES" }

// AppLogStream is the stream of an app's own log.
func (s Subjects) AppLogStream(app string) string { return "GC_" + s.cluster + "_WAL_" + app }

// AppLog returns the one subject of an app's own log.
func (s Subjects) AppLog(app string) string { return s.join("wal", app) }

// AppSnapshotsStream is the stream of the snapshots of an app's own log.
func (s Subjects) AppSnapshotsStream(app string) string { return "GC_" + s.cluster + "_SNAP_" + app }

// AppSnapshots is what the subjects of the snapshots of an app's own log begin with.
func (s Subjects) AppSnapshots(app string) string { return s.join("snap", app) }

// At is what an event's subject says.
type At struct {
	Cluster   string
	Aggregate Aggregate
	Type      Type
	Target    string
}

// ParseEventSubject is the inverse of Subjects.Event.
func ParseEventSubject(subject string) (At, error) {
	bad := func(why string) (At, error) { return At{}, fmt.Errorf("subject %q: %s", subject, why) }
	var (
		t    [10]string // one more than there may be
		n    int
		rest = subject
	)
	for more := true; more && n < len(t); n++ {
		t[n], rest, more = strings.Cut(rest, ".")
	}
	if n < 8 || n > 9 || t[0] != "gc" || t[2] != "evt" {
		return bad("want gc.<cluster>.evt.<kind>.<id>.<category>.<noun>.<verb>[.<node>]")
	}
	start := len("gc..evt...") + len(t[1]) + len(t[3]) + len(t[4])
	at := At{Cluster: t[1], Aggregate: Aggregate{Kind(t[3]), t[4]}, Type: Type(subject[start : start+len("..")+len(t[5])+len(t[6])+len(t[7])])}
	switch at.Aggregate.Kind {
	case KindNode, KindApp, KindCluster, KindRequest, KindAudit:
	default:
		return bad("unknown aggregate kind " + t[3])
	}
	if err := spec.ValidateName("cluster", t[1]); err != nil {
		return bad(err.Error())
	}
	if err := spec.ValidateName(t[3], t[4]); err != nil {
		return bad(err.Error())
	}
	if at.Aggregate.Kind == KindCluster && t[4] != t[1] {
		return bad("a cluster has one aggregate, named like itself") // a second one would be a second serialiser
	}
	for _, tok := range t[5:8] {
		if !typeToken(tok) {
			return bad("type token " + tok + ": want a-z and _")
		}
	}
	if n == 9 {
		if err := spec.ValidateName("node", t[8]); err != nil {
			return bad(err.Error())
		}
		at.Target = t[8]
	}
	return at, nil
}

func typeToken(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return s != ""
}

// ParseReportSubject is the inverse of Subjects.Report.
func ParseReportSubject(subject string) (node, noun, verb string, err error) {
	t := strings.Split(subject, ".")
	if len(t) != 6 || t[0] != "gc" || t[2] != "rep" || !typeToken(t[4]) || !typeToken(t[5]) {
		return "", "", "", fmt.Errorf("subject %q: want gc.<cluster>.rep.<node>.<noun>.<verb>", subject)
	}
	if err := spec.ValidateName("cluster", t[1]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: %w", subject, err)
	}
	if err := spec.ValidateName("node", t[3]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: %w", subject, err)
	}
	return t[3], t[4], t[5], nil
}
