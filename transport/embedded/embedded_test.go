package embedded

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestKeepsItsStore(t *testing.T) {
	dir := t.TempDir()
	for life := range 3 {
		s, err := Start(Options{StoreDir: dir, Port: -1, SyncAlways: life > 0})
		if err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), "s", nil)
		if err != nil || ack.Sequence != uint64(life+1) {
			t.Errorf("life %d: got %+v, %v", life, ack, err)
		}
		nc.Close()
		s.Shutdown()
		s.Shutdown()
	}
}

func TestDirectoryBelongsToOne(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(Options{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if s.ClientURL() != "" {
		t.Errorf("listens on %s, want in-process connections only", s.ClientURL())
	}
	want := fmt.Sprintf("in %s: the directory is in use by process %d on ", dir, os.Getpid())
	if _, err := Start(Options{StoreDir: dir}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to say %q", err, want)
	}
	s.Shutdown()
	if s, err = Start(Options{StoreDir: dir}); err != nil {
		t.Fatal("after the shutdown:", err)
	}
	s.Shutdown()
}

func TestStartSaysWhy(t *testing.T) {
	if _, err := Start(Options{}); err == nil || !strings.Contains(err.Error(), "store directory is required") {
		t.Errorf("got %v", err)
	}
	first, err := Start(Options{StoreDir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Shutdown()
	var port int
	if _, err := fmt.Sscanf(first.ClientURL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.ErrorLevel)
	if _, err := Start(Options{StoreDir: t.TempDir(), Port: port, Log: zap.New(core)}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v, want it to say that the port is taken", err)
	}
	if logs.Len() == 0 {
		t.Error("nothing was logged")
	}
}

func TestStoreIsBounded(t *testing.T) {
	limit, err := storeLimit(t.TempDir())
	if err != nil || limit <= 0 {
		t.Errorf("got %d, %v", limit, err)
	}
}

// Minutes of redelivery take no time at all.
func TestInVirtualTime(t *testing.T) {
	for range 2 { // a second bubble must not stumble over what the first left behind
		RegisterBubble()
		synctest.Test(t, func(t *testing.T) {
			s, err := Start(Options{StoreDir: t.TempDir(), MaxStore: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Shutdown()
			nc, err := nats.Connect("", nats.InProcessServer(s))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
				t.Fatal(err)
			}
			c, err := js.CreateConsumer(t.Context(), "S", jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), "s", nil); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for range 3 {
				if _, err := c.Next(jetstream.FetchMaxWait(2 * time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took < 2*time.Minute {
				t.Errorf("three deliveries came within %s", took)
			}
			if err := nc.Flush(); err != nil { // takes a timer from the library's pool
				t.Error(err)
			}
		})
	}
}
