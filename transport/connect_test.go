package transport

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A server that refuses us for a while, as one does whose accounts are being set up anew or whose resolver is not there yet, is an outage like
// another: whoever gave up would run on for ever without a connection.
func TestConnectionOutlivesARefusal(t *testing.T) {
	secret := func(password string) *server.Options {
		return &server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, Username: "node", Password: password}
	}
	ns, err := server.NewServer(secret("right"))
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	refusals := make(chan struct{}, 100)
	nc, err := Connect(ConnectOptions{Servers: ns.ClientURL(), Name: "node", Extra: []nats.Option{
		nats.UserInfo("node", "right"), nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrAuthorization) {
				refusals <- struct{}{}
			}
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	back := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	if err := ns.ReloadOptions(secret("another")); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		select {
		case <-refusals:
		case <-ctx.Done():
			t.Fatalf("refused %d times, and then it is %s", n, nc.Status())
		}
	}
	if err := ns.ReloadOptions(secret("right")); err != nil {
		t.Fatal(err)
	}
	select {
	case status := <-back:
		if status != nats.CONNECTED {
			t.Fatalf("the connection is %s", status)
		}
	case <-ctx.Done():
		t.Fatalf("the connection is %s", nc.Status())
	}
}

// What fails to connect is logged, by services, agents and programs: nobody's password belongs there.
func TestPasswordsAreNotTold(t *testing.T) {
	for servers, want := range map[string]string{
		"nats://ana:sEcReT@127.0.0.1:1":                       "connect node to …@127.0.0.1:1: ",
		"nats://ana:sEcReT@127.0.0.1:1,nats://tOkEn@[::1]:1":  "connect node to …@127.0.0.1:1,…@[::1]:1: ",
		"nats://ana:sEcReT@127.0.0.1:port":                    "connect node to …@127.0.0.1:port: ",
		"nats://ana:sEcR@eT@127.0.0.1:1,nats://127.0.0.1:1/x": "connect node to …@127.0.0.1:1,nats://127.0.0.1:1/x: ",
	} {
		nc, err := Connect(ConnectOptions{Servers: servers, Name: "node"})
		if err == nil {
			nc.Close()
			t.Fatalf("%s: connected", servers)
		}
		if got := err.Error(); !strings.HasPrefix(got, want) || strings.Contains(got, "sEcR") || strings.Contains(got, "tOkEn") {
			t.Errorf("%s: %s", servers, got)
		}
	}
}
