package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport"
)

func TestTheOnlyClusterIsFound(t *testing.T) {
	alone := []string{"--server", server.ClientURL(), "app", "list", "-o", "json"}
	cli(t.Context(), "", alone...).want(t, exitUnreachable, "", "no cluster on")
	servePlane(t, "first", answers{api.AppList: always[api.ListRequest]([]api.AppView{})})
	cli(t.Context(), "", alone...).want(t, exitDone, "[]\n")
	servePlane(t, "second", answers{api.AppList: always[api.ListRequest]([]api.AppView{{Name: "web"}})})
	cli(t.Context(), "", alone...).want(t, exitUsage, "", "several clusters on", "first, second", "--cluster first")
	if o := cli(t.Context(), "", append(alone, "--cluster", "second")...); o.code != exitDone || !strings.Contains(o.out, "web") {
		t.Errorf("%+v", o)
	}
	cli(t.Context(), "", append(alone, "--cluster", "Bad.Name")...).want(t, exitUsage, "", "--cluster")
}

func TestContextOfTheNATSTool(t *testing.T) {
	p := servePlane(t, "context", answers{api.AppList: always[api.ListRequest]([]api.AppView{})})
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	contexts := filepath.Join(dir, "nats", "context")
	if err := os.MkdirAll(contexts, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(contexts, "here.json"), []byte(`{"url":"`+server.ClientURL()+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	list := []string{"--cluster", p.cluster, "app", "list", "-o", "json"}
	cli(t.Context(), "", append(list, "--context", "here")...).want(t, exitDone, "[]\n")
	cli(t.Context(), "", append(list, "--context", "there")...).want(t, exitUsage, "", `NATS context "there"`, "nats context ls")
	if err := os.WriteFile(filepath.Join(dir, "nats", "context.txt"), []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t.Context(), "", list...).want(t, exitDone, "[]\n")
}

func TestUnreachableServer(t *testing.T) {
	o := cli(t.Context(), "", "--server", "nats://ana:secret@127.0.0.1:1", "app", "list")
	o.want(t, exitUnreachable, "", "error: connect to NATS at …@127.0.0.1:1: ", "try: ")
	if strings.Contains(o.errors, "secret") {
		t.Errorf("the password is shown: %s", o.errors)
	}
	o = cli(t.Context(), "", "--server", "nats://ana:secret@127.0.0.1:port", "app", "list")
	o.want(t, exitUnreachable, "", "error: connect to NATS at …@127.0.0.1:port: ", "invalid port")
	if strings.Contains(o.errors, "secret") {
		t.Errorf("the password is shown: %s", o.errors)
	}
}

// A server that takes connections and says nothing, as one behind a firewall does, is not waited for longer than the user wants to.
func TestServerThatSaysNothing(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for n := 1; ; n++ {
			nc, err := mute.Accept()
			if err != nil {
				return
			}
			defer func() { _ = nc.Close() }()
			if n == 2 {
				interrupt()
			}
		}
	}()
	list := []string{"--server", "nats://ana:secret@" + mute.Addr().String(), "node", "list"}
	began := time.Now()
	cli(t.Context(), "", append(list, "--timeout", "50ms")...).
		want(t, exitTimeUp, "", "error: connect to NATS at …@127.0.0.1:", ": time is up before an answer")
	cli(ctx, "", list...).want(t, exitInterrupted, "", "interrupted")
	if d := time.Since(began); d > requestLimit/2 {
		t.Errorf("took %s", d)
	}
}

func TestTimeIsUpBeforeAClusterAnswers(t *testing.T) {
	s := &session{began: time.Now()}
	for want, end := range map[int]func() (context.Context, context.CancelFunc){
		exitTimeUp:      func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), 0) },
		exitInterrupted: func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) },
	} {
		var cancel context.CancelFunc
		s.ctx, cancel = end()
		cancel()
		nc, err := transport.Connect(transport.ConnectOptions{Servers: server.ClientURL(), Name: "late"})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := s.onlyCluster(nc, requestLimit); codeOf(err) != want {
			t.Errorf("exit code %d, want %d: %v", codeOf(err), want, err)
		}
	}
}

func TestNoControlPlane(t *testing.T) {
	cli(t.Context(), "", "--server", server.ClientURL(), "--cluster", "nobody", "--timeout", "100ms", "app", "list").
		want(t, exitUnreachable, "", "no planner answers app.list", "nats micro ls")
}

func TestActor(t *testing.T) {
	for person, want := range map[string]string{"ana": "cli:ana", "Ana María": "cli:Ana_Mar_a", strings.Repeat("x", 200): "cli:" + strings.Repeat("x", 124)} {
		if got := actorOf(person); got != want {
			t.Errorf("actorOf(%q) = %q, want %q", person, got, want)
		}
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	claims := jwt.NewUserClaims(public)
	claims.Name = "ana"
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ana.creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := credsUser(file); got != "ana" {
		t.Errorf("user of the credentials: %q, want ana", got)
	}
	if got := credsUser(file + ".none"); got != "" {
		t.Errorf("user of a missing file: %q", got)
	}
}

func TestCompletion(t *testing.T) {
	p := servePlane(t, "complete", answers{
		api.AppList:  always[api.ListRequest]([]api.AppView{{Name: "convex"}, {Name: "web"}}),
		api.NodeList: always[api.ListRequest]([]api.NodeView{{ID: "node-1"}, {ID: "node-2"}}),
	})
	here := "go-cluster -s " + server.ClientURL() + " --cluster " + p.cluster
	for _, tc := range []struct {
		line string
		want []string
	}{
		{here + " app move ", []string{"convex", "web"}},
		{here + " app move convex --to node-", []string{"node-1", "node-2"}},
		{here + " app move c", []string{"convex"}},
		{here + " node label ", []string{"node-1", "node-2"}},
		{"go-cluster node dr", []string{"drain"}},
		{"go-cluster app list -o j", []string{"json"}},
		{"go-cluster -s nats://127.0.0.1:1 app move ", nil},
		{"go-cluster -s " + server.ClientURL() + " --cluster nobody app move ", nil},
	} {
		t.Setenv("COMP_LINE", tc.line)
		began := time.Now()
		o := cli(t.Context(), "")
		if got := strings.Fields(o.out); !slices.Equal(got, tc.want) || o.errors != "" || o.code != exitDone {
			t.Errorf("%s: %q, stderr %q, exit code %d; want %q", tc.line, got, o.errors, o.code, tc.want)
		}
		if d := time.Since(began); d > 2*completionLimit {
			t.Errorf("%s: took %s", tc.line, d)
		}
	}
}

func TestInterruptedQuestion(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	p := servePlane(t, "plain", answers{api.AppList: answer(func(api.ListRequest) (any, error) {
		interrupt()
		return nil, api.Refuse(api.CodeUnavailable, "not caught up")
	})})
	cli(ctx, "", "--server", server.ClientURL(), "--cluster", p.cluster, "app", "list").want(t, exitInterrupted, "", "interrupted")
}
