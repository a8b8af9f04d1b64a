//go:build linux

package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/embedded"
	gocluster "github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
)

// A label change from the call that makes it to the callback of a program that watches, with every service running, beside two floors
// of the same run: a stored hop as the services make it (an event appended, and folded by who follows the log), and a bare one (a
// message published and handed to a consumer).
func BenchmarkWatchLabels(b *testing.B) { measured(b, watches(b, b.N)) }

func watches(tb testing.TB, n int) (r report) {
	c := newCluster(tb, 1, func(dir string) agent.Driver {
		return embedded.New(embedded.Options{Dir: dir, Boot: transport.Boottime})
	})
	bare := newChain(c.server, 1, 600)
	hop := newHop(c)
	changer := gocluster.NewPlatform("bench", "", c.url)
	watcher := gocluster.NewPlatform("bench", "", c.url)
	tb.Cleanup(changer.Close)
	tb.Cleanup(watcher.Close)
	told := make(chan string, 16)
	if err := watcher.WatchLabels(tb.Context(), func(_ string, labels map[string]string) { told <- labels["count"] }); err != nil {
		tb.Fatal(err)
	}
	<-told
	var watched, stored, plain []time.Duration
	for i := range 100 + n {
		want := fmt.Sprint(i)
		start := now()
		if err := changer.UpdateNodeLabels("node-1", map[string]string{"count": want}); err != nil {
			tb.Fatal(err)
		}
		for <-told != want {
		}
		took := now().Sub(start)
		h, b := hop(i), bare.run()
		if i >= 100 {
			watched, stored, plain = append(watched, took), append(stored, h), append(plain, b)
		}
	}
	r.quantiles("watch", watched)
	r.quantiles("hop", stored)
	r.quantiles("bare-hop", plain)
	r.ratio("watch", watched, stored)
	r.ratio("watch-bare", watched, plain) // hop is made of what is measured: a slower append makes that ratio no worse
	return r
}

// newHop returns what appends an event that concerns no service and times it until a follower of the log has it.
func newHop(c *cluster) func(i int) time.Duration {
	c.tb.Helper()
	agg, log, seen := events.Request("bench"), c.openLog(c.nc), make(chan uint64, 16)
	follower := c.openLog(c.connect())
	c.spawn("hop", func(ctx context.Context) error {
		return follower.Follow(ctx, 1, []string{c.subjects.Aggregate(agg)}, func(m events.Message) error {
			seen <- m.Event.Rev
			return nil
		})
	})
	var head events.Head
	return func(i int) time.Duration {
		start := now()
		e, err := log.Append(c.tb.Context(), events.Draft{Aggregate: agg, Actor: "bench", Cause: fmt.Sprint("cmd:", i), Data: &events.RequestRefused{Request: "bench", Code: "refused", Detail: fmt.Sprint(i)}}, head)
		if err != nil {
			c.tb.Fatal(err)
		}
		for <-seen != e.Rev {
		}
		head = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
		return now().Sub(start)
	}
}
