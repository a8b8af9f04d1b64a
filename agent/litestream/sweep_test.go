//go:build linux

package litestream

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// Of a whole database that its agent was killed in storing nothing has a name. It goes in time, and nothing else does.
func TestContentWithoutNameGoes(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	l.epoch(t, r, d, 1, 0, 5)
	s, err := r.(*Replication).openStore(limit(t), d.App.Name)
	if err != nil {
		t.Fatal(err)
	}
	prefix := "$O." + s.bucket + ".C."
	for _, nuid := range []string{"old", "new"} {
		for range 2 {
			if _, err := l.js.Publish(limit(t), prefix+nuid, random(100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, err := s.stream.GetLastMsgForSubject(limit(t), prefix+"new")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(limit(t), first.Time); err != nil {
		t.Fatal(err)
	}
	info, err := s.stream.Info(limit(t), jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		t.Fatal(err)
	}
	if n := info.State.Subjects; n[prefix+"old"] != 0 || n[prefix+"new"] != 2 {
		t.Errorf("there is %v", n)
	}
	if err := r.Prove(limit(t), d, 1); err != nil {
		t.Error(err)
	}
}
