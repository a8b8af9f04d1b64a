package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

var server *embedded.Server

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "go-cluster-cli")
	if err != nil {
		panic(err)
	}
	// Neither the environment nor the contexts of whoever runs the tests may decide what they talk to.
	for _, name := range []string{"NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "GO_CLUSTER", "COMP_LINE"} {
		_ = os.Unsetenv(name)
	}
	// A program built with the race detector stays a second at its end to let reports out; these tests run hundreds.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=10 "+os.Getenv("GORACE"))
	_ = os.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	server, err = embedded.Start(embedded.Options{StoreDir: filepath.Join(dir, "nats"), Port: -1})
	if err != nil {
		panic(err)
	}
	code := m.Run()
	server.Shutdown()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// plane is a control plane whose answers a test writes. It is served as the real one is.
type plane struct {
	t       *testing.T
	cluster string
	nc      *nats.Conn

	mu     sync.Mutex
	log    []string                    // event log, one JSON object each
	states map[string][]api.OrderReply // what is answered to the questions about an order, in turn; the last one is repeated
}

type answers map[api.Endpoint]transport.Handler

// servePlane serves the answers, an event log and order states until the test ends.
func servePlane(t *testing.T, cluster string, handlers answers) *plane {
	t.Helper()
	nc, err := transport.Connect(transport.ConnectOptions{Servers: server.ClientURL(), Name: "plane"})
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := events.NewSubjects(cluster)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, cluster: cluster, nc: nc, states: map[string][]api.OrderReply{}}
	all := answers{api.EventList: p.eventList, api.OrderStatus: p.orderStatus, api.PolicyShow: always[api.ListRequest](api.PolicyReply{})}
	for e, h := range handlers {
		all[e] = h
	}
	svc, err := transport.Serve(nc, subjects, "planner", "1.0.0", "r1", all, transport.ServeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := svc.Stop(); err != nil {
			t.Error(err)
		}
		nc.Close()
	})
	return p
}

// answer makes a handler that reads the request as strictly as the real one and answers it.
func answer[Req any](reply func(Req) (any, error)) transport.Handler {
	return func(_ context.Context, r *transport.Request) (any, error) {
		req, err := transport.Decode[Req](r)
		if err != nil {
			return nil, err
		}
		return reply(req)
	}
}

// always answers every request of a type alike.
func always[Req any](reply any) transport.Handler {
	return answer(func(Req) (any, error) { return reply, nil })
}

// refuses answers every request of a type with an error.
func refuses[Req any](err error) transport.Handler {
	return answer(func(Req) (any, error) { return nil, err })
}

// store appends an event to the log that the plane hands out.
func (p *plane) store(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, fmt.Sprintf(format, args...))
}

func (p *plane) eventList(_ context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.EventListRequest](r)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	rep := api.EventListReply{NextSeq: req.SinceSeq, LastSeq: uint64(len(p.log))}
	for i, line := range p.log {
		seq := uint64(i + 1)
		if seq < req.SinceSeq || len(rep.Lines) == req.Limit {
			continue
		}
		rep.Lines = append(rep.Lines, api.RawLine(fmt.Sprintf(`%s,"seq":%d}`, strings.TrimSuffix(line, "}"), seq)))
		rep.NextSeq = seq + 1
	}
	return rep, nil
}

func (p *plane) orderStatus(_ context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.OrderRequest](r)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	states := p.states[req.Order]
	if len(states) == 0 {
		return nil, api.Refuse(api.CodeNotFound, "no order %s", req.Order)
	}
	if len(states) > 1 {
		p.states[req.Order] = states[1:]
	}
	rep := states[0]
	rep.Order, rep.Seq = req.Order, uint64(len(p.log))
	return rep, nil
}

// outcome is what a command line did.
type outcome struct {
	code        int
	out, errors string
}

// cli runs one command line against the plane.
func (p *plane) cli(args ...string) outcome {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	return cli(ctx, "", append([]string{"--server", server.ClientURL(), "--cluster", p.cluster}, args...)...)
}

func cli(ctx context.Context, stdin string, args ...string) outcome {
	var out, errors bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &out, &errors)
	return outcome{code: code, out: out.String(), errors: errors.String()}
}

func (o outcome) want(t *testing.T, code int, out string, errorParts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", o.code, code, o.out, o.errors)
	}
	if o.out != out {
		t.Errorf("stdout:\n%q\nwant:\n%q", o.out, out)
	}
	for _, part := range errorParts {
		if !strings.Contains(o.errors, part) {
			t.Errorf("stderr lacks %q:\n%s", part, o.errors)
		}
	}
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}
