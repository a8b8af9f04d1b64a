//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport"
)

// reports come from nodes. Bad ones are dropped, or refused in the log; none may hold up those that follow.
func (s *strangers) reports(t *testing.T) {
	const sound = `{"order_seq":1,"migration":"m-0","app":"one","instance":"one-0","step":"start","node":"node-1","inc":"x.y.1"}`
	r := rand.New(rand.NewPCG(2, 2))
	subjects := []string{s.subjects.Report("node-1", "step", "completed"), s.subjects.Report("node-1", "step", "failed"), s.subjects.Report("ghost", "step", "completed"),
		s.subjects.Report("node-1", "leap", "completed"), "gc.dev.rep.x", "gc.dev.rep.a.b.c.d.e"}
	publish := func(subject, body string) {
		if err := s.nc.Publish(subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range subjects {
		for _, body := range garbage {
			publish(subject, body)
		}
		for _, b := range wrongTypes(sound) {
			publish(subject, b.body)
		}
		for range 100 {
			publish(subject, damaged(r, sound))
		}
	}
	// Sound, and of nothing that was ever ordered. Each is refused in the log, once.
	for i, order := range []string{"1", "2", "1000000000", "18446744073709551615"} {
		body := strings.Replace(strings.Replace(sound, `"order_seq":1`, `"order_seq":`+order, 1), "m-0", fmt.Sprintf("m-%d", i), 1)
		if _, err := s.js.Publish(t.Context(), subjects[0], []byte(body)); err != nil { // all before it are stored then
			t.Fatal(err)
		}
	}
	s.drained(t)
}

// drained waits until the migrator has dealt with every report that is there.
func (s *strangers) drained(t *testing.T) {
	t.Helper()
	awaitTrue(t, "the reports are dealt with", func() bool {
		c, err := s.js.Consumer(t.Context(), s.subjects.ReportsStream(), transport.MigratorDurable)
		if err != nil {
			t.Fatal(err)
		}
		info := c.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// leases are a node's own word about itself. What is no lease does not make a node of anybody.
func (s *strangers) leases(t *testing.T, cluster devAt) {
	const sound = `{"state":"held","node":"ghost","inc":"m.b.1","machine":"m","boot":"b","n":1,"ttl":"5s","load":{"cpu":0,"memory":0}}`
	r := rand.New(rand.NewPCG(3, 3))
	subject := s.subjects.Lease("ghost")
	bodies := slices.Clone(garbage)
	for _, b := range wrongTypes(sound) {
		bodies = append(bodies, b.body)
	}
	for range 200 {
		bodies = append(bodies, damaged(r, sound))
	}
	for _, body := range bodies {
		if err := s.nc.Publish(subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range wrongTypes(`{"service":"labeler","replica":"ghost"}`) {
		if err := s.nc.Publish(s.subjects.Beat("labeler", "ghost"), []byte(b.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if nodes := ask[[]api.NodeView](cluster, "node", "list"); len(nodes) != 2 {
		t.Errorf("nodes %+v", nodes)
	}
}
