package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	natsserver "github.com/go-cluster/go-cluster/transport/embedded"
)

// BenchmarkLogMoves moves a singleton to and fro between two programs under steady writes, in real time. For each move it takes the time from
// the last write that the old active acknowledged to the first of the new one; beside it what one Append takes in the same run.
func BenchmarkLogMoves(b *testing.B) {
	dir := b.TempDir()
	natsserver.RegisterBubble()
	w := newWorld(b, dir, natsserver.Options{StoreDir: dir + "/nats", Port: -1})
	nodes := []string{"node-1", "node-2"}
	var branches []branch
	for _, node := range nodes {
		p := NewPlatform("prod", node, w.srv.ClientURL(), DataDir(dir+"/"+node), Address("127.0.0.1"))
		b.Cleanup(p.Close)
		a := App("bank", Singleton())
		br := branch{state: &ledger{}}
		br.log = a.Log(br.state)
		if err := p.Register(a); err != nil {
			b.Fatal(err)
		}
		br.stop = w.spawn(b, w.ctx, p.Run)
		branches = append(branches, br)
	}
	client := NewPlatform("prod", "", w.srv.ClientURL())
	b.Cleanup(client.Close)

	type ack struct {
		node int
		at   time.Time
	}
	var (
		acks    []ack
		took    []time.Duration
		done    = make(chan struct{})
		ctx, ok = context.WithCancel(w.ctx)
	)
	active := make(chan int, 1)
	go func() {
		defer close(done)
		for n, at := 0, 0; ctx.Err() == nil; n++ {
			began := time.Now()
			switch _, err := branches[at].log.Append(w.ctx, fmt.Appendf(nil, "%d", n)); {
			case err == nil:
				if acks = append(acks, ack{at, time.Now()}); len(acks) == 1 {
					active <- at
				}
				took = append(took, acks[len(acks)-1].at.Sub(began))
			case errors.Is(err, ErrFenced):
				at = 1 - at
				<-time.After(100 * time.Microsecond)
			default:
				b.Errorf("write %d: %v", n, err)
				return
			}
		}
	}()
	at := <-active
	for b.Loop() {
		at = 1 - at
		if err := client.MoveApp(w.ctx, MoveRequest{App: "bank", ToNode: nodes[at]}); err != nil {
			b.Fatal(err)
		}
	}
	ok()
	<-done
	var pauses []time.Duration
	for i := 1; i < len(acks); i++ {
		if acks[i].node != acks[i-1].node {
			pauses = append(pauses, acks[i].at.Sub(acks[i-1].at))
		}
	}
	if got := len(branches[at].state.Entries); got != len(acks) {
		b.Errorf("%d writes were acknowledged, the last active has %d", len(acks), got)
	}
	slices.Sort(pauses)
	slices.Sort(took)
	ms := func(d []time.Duration, p int) float64 {
		return float64(d[min(len(d)*p/100, len(d)-1)].Microseconds()) / 1000
	}
	b.ReportMetric(float64(len(pauses)), "moves")
	b.ReportMetric(float64(len(acks)), "writes")
	b.ReportMetric(ms(pauses, 50), "pause-p50-ms")
	b.ReportMetric(ms(pauses, 99), "pause-p99-ms")
	b.ReportMetric(ms(took, 50), "append-p50-ms")
	b.ReportMetric(ms(took, 99), "append-p99-ms")
}
