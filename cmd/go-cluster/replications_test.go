//go:build linux

package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/examples/ledger"
)

// What a node's metrics say of the data that it ships is what it ships: read as Prometheus would, before and after a move.
func TestReplicationMetrics(t *testing.T) {
	dev, cluster := startDev(t, "--nodes", "2", "--no-demo")
	cluster.apply(exitDone, string(ledger.Spec))
	show := func() api.InstanceView {
		t.Helper()
		var a api.AppDetail
		if err := json.Unmarshal([]byte(cluster.do(exitDone, "app", "show", "ledger", "-o", "json").out), &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Instances) != 1 {
			t.Fatalf("instances: %+v", a.Instances)
		}
		return a.Instances[0]
	}
	n := 0
	write := func() {
		t.Helper()
		in := show()
		n++
		res, err := http.Post(fmt.Sprintf("http://%s:%d/entries?writer=w&n=%d", in.Address, in.Ports["http"], n), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, said)
		}
	}
	at := func(name, labels string) float64 {
		t.Helper()
		body, status := dev.get(t, "/metrics")
		if status != http.StatusOK {
			t.Fatalf("/metrics: %d", status)
		}
		series, _ := samples(body)
		v, err := strconv.ParseFloat(series[name][labels], 64)
		if err != nil {
			return -1
		}
		return v
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for limit := time.Now().Add(time.Minute); !ok(); <-tick.C {
			if time.Now().After(limit) {
				body, _ := dev.get(t, "/metrics")
				for line := range strings.Lines(body) {
					if strings.HasPrefix(line, "gc_replication_") {
						t.Log(line)
					}
				}
				t.Fatal("not within a minute: ", what)
			}
		}
	}
	first := show().Node
	active := "app=ledger,node=" + first + ",role=active"
	write()
	await("what was written is shipped", func() bool {
		return at("gc_replication_position", active) > 0 && at("gc_replication_bytes_total", active) > 0
	})
	before, bytes := at("gc_replication_position", active), at("gc_replication_bytes_total", active)
	write()
	await("more is shipped", func() bool {
		return at("gc_replication_position", active) > before && at("gc_replication_bytes_total", active) > bytes && at("gc_replication_lag_seconds", active) == 0
	})
	if epoch, failing := at("gc_replication_epoch", active), at("gc_replication_failing", active); epoch != float64(show().Epoch) || failing != 0 {
		t.Errorf("epoch %v (want %d), failing %v", epoch, show().Epoch, failing)
	}
	cluster.do(exitDone, "app", "move", "ledger")
	second := show().Node
	if second == first {
		t.Fatalf("it is on %s still", first)
	}
	write()
	await("the target ships its own epoch", func() bool {
		return at("gc_replication_epoch", "app=ledger,node="+second+",role=active") == float64(show().Epoch)
	})
	if got := at("gc_replication_flush_seconds_count", "app=ledger,node="+first); got != 1 {
		t.Errorf("%v flushes on %s, want 1", got, first)
	}
	if got := at("gc_replication_bytes_total", "app=ledger,node="+second+",role=standby"); got <= 0 {
		t.Errorf("%v bytes fetched on %s", got, second)
	}
	if got := at("gc_replication_resyncs_total", "app=ledger,node="+second+",role=standby"); got != 0 {
		t.Errorf("%v resyncs", got)
	}
}
