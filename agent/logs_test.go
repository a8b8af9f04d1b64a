package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport"
)

// The output of an instance comes in chunks, each after the answer to the one before, and ends with a word on how it ended.
func TestLogs(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		d.output = strings.Repeat("0123456789abcdef", api.MaxLogsChunk/16) + "the end\n"
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.runPool("web", inc)
		ask := func(instance string, follow bool) (chunks chan *nats.Msg, err error) {
			chunks = make(chan *nats.Msg, 1000)
			inbox := w.nc.NewInbox()
			sub, err := w.nc.Subscribe(inbox, func(m *nats.Msg) {
				if err := m.Respond(nil); err != nil {
					t.Error(err)
				}
				chunks <- m
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sub.Unsubscribe() })
			_, err = transport.Call[api.LogsRequest, api.LogsReply](w.ctx, w.nc, w.subjects, api.LogsEndpoint("node-1"),
				api.LogsRequest{Instance: instance, Tail: -1, Follow: follow, Inbox: inbox})
			return chunks, err
		}
		chunks, err := ask("web-0", false)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for m := range chunks {
			got += string(m.Data)
			if m.Header.Get(api.LogsDone) != "" {
				break
			}
			if m.Header.Get(api.LogsError) != "" || len(m.Data) > api.MaxLogsChunk {
				t.Fatalf("chunk %v, %d bytes", m.Header, len(m.Data))
			}
		}
		if got != d.output {
			t.Errorf("got %d bytes, want %d", len(got), len(d.output))
		}
		if _, err := ask("db-0", false); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("an instance that is not there: %v", err)
		}
		if chunks, err = ask("web-0", true); err != nil {
			t.Fatal(err)
		}
		for quiet := time.Now(); time.Since(quiet) < time.Minute; {
			select {
			case m := <-chunks:
				if m.Header.Get(api.LogsDone) != "" || m.Header.Get(api.LogsError) != "" {
					t.Fatalf("ended: %v", m.Header)
				}
			case <-time.After(api.LogsKeepAlive):
				t.Fatal("silent for too long")
			}
		}
	})
}

func TestInboxes(t *testing.T) {
	for s, want := range map[string]bool{"_INBOX.abc.1": true, "my.inbox": true, "": false, "gc.test.api.node.lost": false, "$JS.API.X": false,
		"a.>": false, "a..b": false, "a b": false} {
		if isInbox(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
}
