package servertest

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// Cluster makes the streams of a cluster on a server of its own, in the time that everybody has.
func Cluster(t *testing.T) (*nats.Conn, jetstream.JetStream, events.Subjects) {
	t.Helper()
	srv, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), MaxStore: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	nc, err := nats.Connect("", nats.InProcessServer(srv.InProcess))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := events.NewSubjects("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Bootstrap(t.Context(), js, subjects, transport.BootstrapOptions{}); err != nil {
		t.Fatal(err)
	}
	return nc, js, subjects
}
