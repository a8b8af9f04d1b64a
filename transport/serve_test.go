package transport

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

func serve(t *testing.T, s *site, handlers map[api.Endpoint]Handler, o ServeOptions) *Service {
	t.Helper()
	svc, err := Serve(s.nc, s.Subjects, events.Labeler, "dev", "r1", handlers, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Stop() })
	return svc
}

func label(ctx context.Context, s *site, nc *nats.Conn, req api.LabelRequest) (api.LabelReply, error) {
	return Call[api.LabelRequest, api.LabelReply](ctx, nc, s.Subjects, api.NodeLabel, req)
}

func command() api.Meta { return NewMeta("cli:ana", time.Now(), time.Minute) }

func refused(t *testing.T, err error, code api.Code, says string) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *api.Error", err)
	}
	if e.Code != code || !strings.Contains(e.Detail, says) {
		t.Errorf("got %s: %s, want %s saying %q", e.Code, e.Detail, code, says)
	}
	return e
}

func TestCall(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		svc := serve(t, s, map[api.Endpoint]Handler{api.NodeLabel: func(_ context.Context, r *Request) (any, error) {
			req, err := Decode[api.LabelRequest](r)
			if err != nil {
				return nil, err
			}
			switch req.Node {
			case "panics":
				panic("oh")
			case "fails":
				return nil, errors.New("disk on fire")
			case "refuses":
				return nil, &api.Error{Code: api.CodeRefused, Detail: "label role: reserved", Rejections: []events.Rejection{{Node: "n1", Code: "label", Detail: "no"}}}
			}
			return map[string]any{"seq": 7, "changed": true, "after": req.Set, "newer": "field"}, nil
		}}, ServeOptions{OnRefused: func(r *Request, e *api.Error) uint64 { return 99 }})
		call := func(node string) (api.LabelReply, error) {
			return label(t.Context(), s, s.nc, api.LabelRequest{Meta: command(), Node: node, Set: map[string]string{"a": "b"}})
		}

		rep, err := call("n1")
		if err != nil || rep.Seq != 7 || rep.After["a"] != "b" {
			t.Errorf("got %+v, %v", rep, err)
		}
		_, err = call("refuses")
		e := refused(t, err, api.CodeRefused, "label role: reserved")
		same(t, "sequence of the record", e.Seq, 99)
		same(t, "rejections", len(e.Rejections), 1)
		_, err = call("fails")
		same(t, "sequence of a fault", refused(t, err, api.CodeInternal, "disk on fire").Seq, 0)
		_, err = call("panics")
		refused(t, err, api.CodeInternal, "oh")
		same(t, "panics", svc.Panics(), 1)
		if _, err = call("n1"); err != nil {
			t.Errorf("after a panic: %v", err)
		}
	})
}

func TestCommandsAtTheDoor(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var handled, recorded atomic.Int32
		serve(t, s, map[api.Endpoint]Handler{
			api.NodeLabel: func(context.Context, *Request) (any, error) { handled.Add(1); return api.Ack{}, nil },
			api.NodeList:  func(_ context.Context, r *Request) (any, error) { return api.Ack{Order: r.Actor}, nil },
		}, ServeOptions{OnRefused: func(*Request, *api.Error) uint64 { return uint64(recorded.Add(1)) }})

		late := command()
		late.Expires = time.Now().Add(-time.Second)
		_, err := label(t.Context(), s, s.nc, api.LabelRequest{Meta: late})
		same(t, "record of the expiry", refused(t, err, api.CodeExpired, "arrived 1s after its expiry").Seq, 1)
		_, err = label(t.Context(), s, s.nc, api.LabelRequest{Meta: api.Meta{ID: "x"}})
		same(t, "field", refused(t, err, api.CodeInvalid, "a command needs one").Field, "expires")
		_, err = label(t.Context(), s, s.nc, api.LabelRequest{})
		same(t, "field", refused(t, err, api.CodeInvalid, "").Field, "id")
		forged := command()
		forged.Actor = "nats:USERS/root"
		_, err = label(t.Context(), s, s.nc, api.LabelRequest{Meta: forged})
		same(t, "field", refused(t, err, api.CodeInvalid, "").Field, "actor")

		for _, data := range []string{"", "x", "[]", "{", `{"id":"a","id":"b"}`, "{\"id\":\"\xff\"}", strings.Repeat("[", 99), `{"id":{}}`,
			`{"id":"` + strings.Repeat("x", api.MaxRequest) + `"}`, `{"id":"a\nb"}`, `{"expires":"soon"}`} {
			m, err := request(s.nc, s.API("node", "label"), []byte(data))
			if err != nil {
				t.Fatalf("%.20q: %v", data, err)
			}
			if e := refusal(m); e == nil || e.Code != api.CodeInvalid {
				t.Errorf("%.20q: got %v, want invalid", data, e)
			}
		}
		same(t, "handled", handled.Load(), 0)
		same(t, "recorded", recorded.Load(), 1)

		ack, err := Call[api.ListRequest, api.Ack](t.Context(), s.nc, s.Subjects, api.NodeList, api.ListRequest{})
		if err != nil || ack.Order != "unknown" {
			t.Errorf("a question needs neither id nor expiry: got %+v, %v", ack, err)
		}
	})
}

func TestExpiredButKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		serve(t, s, map[api.Endpoint]Handler{api.NodeLabel: func(context.Context, *Request) (any, error) { panic("carried out again") }},
			ServeOptions{Known: func(_ context.Context, r *Request) (any, error, bool) {
				return api.Ack{Seq: 5}, nil, r.Meta.ID == "seen"
			}})
		rep, err := label(t.Context(), s, s.nc, api.LabelRequest{Meta: api.Meta{ID: "seen", Expires: time.Now().Add(-time.Hour)}})
		if err != nil || rep.Seq != 5 {
			t.Errorf("got %+v, %v", rep, err)
		}
		_, err = label(t.Context(), s, s.nc, api.LabelRequest{Meta: api.Meta{ID: "new", Expires: time.Now().Add(-time.Hour)}})
		refused(t, err, api.CodeExpired, "not carried out")
	})
}

// What JetStream delivers to our subject is not a request, whoever made it do so.
func TestInjectedMessageIsNotARequest(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		svc := serve(t, s, map[api.Endpoint]Handler{api.NodeLabel: func(context.Context, *Request) (any, error) { panic("handled") }}, ServeOptions{})
		s.publish(s.Lease("n1"), `{"id":"x","expires":"2999-01-01T00:00:00Z","node":"n1"}`, nil)
		err := s.nc.PublishRequest("$JS.API.DIRECT.GET."+s.LeasesStream(), s.API("node", "label"), []byte(`{"seq":1}`))
		if err != nil {
			t.Fatal(err)
		}
		// A pull on a durable puts the stored message itself, with a reply subject, onto ours.
		if _, err := s.js.CreateConsumer(t.Context(), s.LeasesStream(), durableForTest()); err != nil {
			t.Fatal(err)
		}
		if err := s.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+s.LeasesStream()+".d", s.API("node", "label"), []byte("1")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		same(t, "panics", svc.Panics(), 0)
		svc.byName[0].mu.Lock()
		defer svc.byName[0].mu.Unlock()
		if st := svc.byName[0].stats; st.NumErrors != st.NumRequests || st.NumErrors == 0 || !strings.Contains(st.LastError, "not a request") {
			t.Errorf("got %+v", st)
		}
	})
}

func TestNoService(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		start := time.Now()
		_, err := label(t.Context(), s, s.nc, api.LabelRequest{Meta: command()})
		refused(t, err, api.CodeUnavailable, "cluster test: no labeler answers node.label")
		same(t, "waited", time.Since(start), callTimeout)
	})
}

func TestServiceThatComesLate(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := label(t.Context(), s, s.nc, api.LabelRequest{Meta: command()}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		var busy atomic.Bool
		busy.Store(true)
		serve(t, s, map[api.Endpoint]Handler{api.NodeLabel: func(context.Context, *Request) (any, error) {
			if busy.Swap(false) {
				return nil, api.Refuse(api.CodeUnavailable, "not caught up")
			}
			return api.LabelReply{}, nil
		}}, ServeOptions{})
		wg.Wait()
	})
}

// A command whose reply is lost is sent again with the same id; the service can tell.
func TestLostReply(t *testing.T) {
	onServer(t, func(t *testing.T, s *site) {
		p := newProxy(t, s.srv.ClientURL())
		ids := make(chan string, 10)
		serve(t, s, map[api.Endpoint]Handler{api.NodeLabel: func(_ context.Context, r *Request) (any, error) {
			ids <- r.Meta.ID
			return api.LabelReply{}, nil
		}}, ServeOptions{})
		nc, err := Connect(ConnectOptions{Name: "client", Servers: p.url()})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		p.muteServer(true)
		meta, done := command(), make(chan error, 1)
		go func() {
			_, err := label(t.Context(), s, nc, api.LabelRequest{Meta: meta})
			done <- err
		}()
		same(t, "first id", within(t, ids, "the command"), meta.ID)
		p.muteServer(false)
		p.cut()
		if err := within(t, done, "the answer"); err != nil {
			t.Fatal(err)
		}
		same(t, "second id", within(t, ids, "the repetition"), meta.ID)
	})
}

func TestSilentService(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var asked atomic.Int32
		serve(t, s, map[api.Endpoint]Handler{api.NodeLabel: func(ctx context.Context, _ *Request) (any, error) {
			asked.Add(1)
			<-ctx.Done()
			return nil, ctx.Err()
		}}, ServeOptions{})
		meta := command()
		_, err := label(t.Context(), s, s.nc, api.LabelRequest{Meta: meta})
		refused(t, err, api.CodeTimeout, "whether it was carried out is not known; repeat it with id "+meta.ID)
		if asked.Load() < 2 {
			t.Error("asked once only")
		}
	})
}

func TestStopAnswersWhatIsInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var answered atomic.Int32
		svc := serve(t, s, map[api.Endpoint]Handler{api.NodeLabel: func(ctx context.Context, _ *Request) (any, error) {
			select {
			case <-time.After(2 * time.Second):
				answered.Add(1)
				return api.LabelReply{}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}, ServeOptions{})
		client, err := s.connect()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := label(t.Context(), s, client, api.LabelRequest{Meta: command()}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if err := svc.Stop(); err != nil {
			t.Error(err)
		}
		same(t, "answered when Stop returns", answered.Load(), 20)
		wg.Wait()
		if _, err := request(client, s.API("node", "label"), []byte("{}")); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("got %v, want no responders after Stop", err)
		}
	})
}

// Nobody can be answered without NATS, so nothing is waited for: neither when it is gone before, nor when it goes meanwhile.
func TestStopWithoutNATS(t *testing.T) {
	for name, stop := range map[string]func(s *site, svc *Service) error{
		"gone": func(s *site, svc *Service) error {
			s.srv.Shutdown()
			synctest.Wait()
			return svc.Stop()
		},
		"going": func(s *site, svc *Service) error {
			stopped := make(chan error, 1)
			go func() { stopped <- svc.Stop() }()
			s.srv.Shutdown()
			return <-stopped
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				svc := serve(t, s, map[api.Endpoint]Handler{api.NodeList: func(context.Context, *Request) (any, error) { return 1, nil }}, ServeOptions{})
				began := time.Now()
				if err := stop(s, svc); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("Stop took %s", took)
				}
			})
		})
	}
}

func TestTooManyRequestsAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		hold := make(chan struct{})
		serve(t, s, map[api.Endpoint]Handler{api.NodeList: func(context.Context, *Request) (any, error) { <-hold; return 1, nil }}, ServeOptions{})
		for range maxInFlight {
			if err := s.nc.PublishRequest(s.API("node", "list"), "nobody", []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		m, err := request(s.nc, s.API("node", "list"), []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		refused(t, refusal(m), api.CodeUnavailable, "busy")
		close(hold)
	})
}

func TestMicroProtocol(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		serve(t, s, map[api.Endpoint]Handler{api.NodeList: func(context.Context, *Request) (any, error) { return 1, nil }, api.NodeLabel: nil}, ServeOptions{})
		if _, err := Call[api.ListRequest, int](t.Context(), s.nc, s.Subjects, api.NodeList, api.ListRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is counted when its reply is on its way
		var ping micro.Ping
		var info micro.Info
		var stats struct {
			Endpoints []struct {
				Name        string `json:"name"`
				NumRequests int    `json:"num_requests"`
			} `json:"endpoints"`
		}
		for subject, into := range map[string]any{"$SRV.PING": &ping, "$SRV.INFO.gc-test-labeler": &info, "$SRV.STATS.gc-test-labeler": &stats} {
			m, err := request(s.nc, subject, nil)
			if err != nil {
				t.Fatal(subject, err)
			}
			if err := json.Unmarshal(m.Data, into); err != nil {
				t.Fatal(subject, err)
			}
		}
		same(t, "name", ping.Name, "gc-test-labeler")
		same(t, "cluster", ping.Metadata["cluster"], "test")
		same(t, "endpoints", len(info.Endpoints), 2)
		same(t, "subject", info.Endpoints[1].Subject, "gc.test.api.node.list")
		same(t, "requests", stats.Endpoints[1].NumRequests, 1)
	})
}
