package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/transport"
)

// A server that takes nobody without credentials takes a program that names its own, and one that has others is told so.
func TestNATSCreds(t *testing.T) {
	dir := t.TempDir()
	url, creds := secured(t, dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	nc, err := transport.Connect(transport.ConnectOptions{Servers: url, Name: "control plane", Creds: creds})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := events.NewSubjects("prod")
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Bootstrap(ctx, js, s, transport.BootstrapOptions{}); err != nil {
		t.Fatal(err)
	}
	base, err := services.Open(ctx, services.Config{Cluster: "prod", Replica: "r1", Version: "test", NC: nc, Log: zap.NewNop(), Now: time.Now, Boot: transport.Boottime,
		Dial: func() (*nats.Conn, error) {
			return transport.Connect(transport.ConnectOptions{Servers: url, Name: "work", Creds: creds})
		}})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 3)
	for _, run := range []func(context.Context) error{base.Run, labeler.New(base).Run} {
		go func() { ended <- run(running) }()
	}
	p := NewPlatform("prod", "node-1", url, NATSCreds(creds), DataDir(filepath.Join(dir, "node-1")), Address("127.0.0.1"))
	go func() { ended <- p.Run(running) }()
	defer func() {
		stop()
		for range 3 {
			<-ended
		}
		p.Close()
	}()
	if err := until(ctx, func() bool { _, err := p.Node(ctx, "node-1"); return err == nil }); err != nil {
		t.Fatalf("the node has not joined: %v", err)
	}
	if err := p.SetLabels(ctx, map[string]string{"role": "storage"}); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Node(ctx, "node-1"); err != nil || got.Labels["role"] != "storage" {
		t.Fatalf("labels are %v, %v", got.Labels, err)
	}

	stranger := filepath.Join(dir, "stranger.creds")
	_, other := account(t, newKey(t, nkeys.CreateOperator))
	if err := os.WriteFile(stranger, other, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{stranger: "Authorization Violation", filepath.Join(dir, "none.creds"): "none.creds"} {
		p := NewPlatform("prod", "", url, NATSCreds(file))
		if _, err := p.Node(ctx, "node-1"); err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("with %s: %v, want %q", filepath.Base(file), err, want)
		}
		p.Close()
	}
}

// until asks again until it is so.
func until(ctx context.Context, is func() bool) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// secured starts a server with an operator of its own, and returns where it is and the credentials of the only user it knows.
func secured(t *testing.T, dir string) (url, creds string) {
	t.Helper()
	operator := newKey(t, nkeys.CreateOperator)
	claims := jwt.NewOperatorClaims(publicKey(t, operator))
	if _, err := claims.Encode(operator); err != nil {
		t.Fatal(err)
	}
	acc, user := account(t, operator)
	system := newKey(t, nkeys.CreateAccount)
	resolver := &server.MemAccResolver{}
	decoded, err := jwt.DecodeAccountClaims(acc)
	if err != nil {
		t.Fatal(err)
	}
	sys, err := jwt.NewAccountClaims(publicKey(t, system)).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	for key, token := range map[string]string{decoded.Subject: acc, publicKey(t, system): sys} {
		if err := resolver.Store(key, token); err != nil {
			t.Fatal(err)
		}
	}
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, JetStream: true, StoreDir: filepath.Join(dir, "nats"),
		TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver, SystemAccount: publicKey(t, system)})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not get ready")
	}
	creds = filepath.Join(dir, "node.creds")
	if err := os.WriteFile(creds, user, 0o600); err != nil {
		t.Fatal(err)
	}
	return ns.ClientURL(), creds
}

// account makes an account with JetStream under the operator, and a user of it.
func account(t *testing.T, operator nkeys.KeyPair) (token string, creds []byte) {
	t.Helper()
	key, user := newKey(t, nkeys.CreateAccount), newKey(t, nkeys.CreateUser)
	claims := jwt.NewAccountClaims(publicKey(t, key))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	token, err := claims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jwt.NewUserClaims(publicKey(t, user)).Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if creds, err = jwt.FormatUserConfig(signed, seed); err != nil {
		t.Fatal(err)
	}
	return token, creds
}

func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicKey(t *testing.T, key nkeys.KeyPair) string {
	t.Helper()
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}
