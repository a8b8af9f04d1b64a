package transport

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// Who asks is what NATS says, across accounts as deploy/nats sets them up; a name that the request claims does not count.
func TestIdentityAcrossAccounts(t *testing.T) {
	opts, err := server.ProcessConfigFile("../deploy/nats/accounts.conf")
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.StoreDir, opts.NoLog, opts.NoSigs = "127.0.0.1", -1, t.TempDir(), true, true
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	connect := func(user string) *nats.Conn {
		nc, err := Connect(ConnectOptions{Servers: ns.ClientURL(), Name: user, Extra: []nats.Option{nats.UserInfo(user, user)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	s, err := events.NewSubjects("prod")
	if err != nil {
		t.Fatal(err)
	}
	actors := make(chan string, 1)
	svc, err := Serve(connect("services"), s, "labeler", "1", "r1", map[api.Endpoint]Handler{
		api.NodeLabel: func(_ context.Context, r *Request) (any, error) {
			actors <- r.Actor
			return api.LabelReply{}, nil
		},
	}, ServeOptions{TrustRequestInfo: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Stop() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req := api.LabelRequest{Meta: NewMeta("cli:root", time.Now(), time.Minute), Node: "node-1", Set: map[string]string{"a": "b"}}
	if _, err := Call[api.LabelRequest, api.LabelReply](ctx, connect("ana"), s, api.NodeLabel, req); err != nil {
		t.Fatal(err)
	}
	if got := <-actors; got != "nats:PEOPLE/ana" {
		t.Errorf("actor %q, want nats:PEOPLE/ana", got)
	}
	// bob may look and not touch.
	short, cancelShort := context.WithTimeout(t.Context(), time.Second)
	defer cancelShort()
	if _, err := Call[api.LabelRequest, api.LabelReply](short, connect("bob"), s, api.NodeLabel, req); err == nil {
		t.Error("bob's command was carried out")
	}
}
