package events

import (
	"testing"
	"time"
)

// What making an event takes, before it is sent.
func BenchmarkCompose(b *testing.B) {
	s, err := NewSubjects("bench")
	if err != nil {
		b.Fatal(err)
	}
	l := &Log{Subjects: s, incarnation: "0123456789abcdef", now: time.Now}
	labels := map[string]string{"zone": "a", "role": "compute", "count": "17"}
	d := Draft{Aggregate: Node("node-1"), Node: "node-1", Actor: "cli:ana", Cause: "cmd:17", Data: &NodeLabelsUpdated{Node: "node-1", Before: labels, After: labels}}
	head := Head{Seq: 16, Rev: 16, Hash: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := l.compose(d, head); err != nil {
			b.Fatal(err)
		}
	}
}
