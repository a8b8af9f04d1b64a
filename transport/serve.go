package transport

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// maxInFlight bounds the requests of one service that are being answered; more are refused as unavailable, and asked again.
const maxInFlight = 256

// ServeOptions are a service's choices; the zero value is a working one.
type ServeOptions struct {
	Log     *zap.Logger      // nil discards
	Timeout time.Duration    // of one answer; 0 is 10 s
	Now     func() time.Time // judges expiry; nil is time.Now
	// TrustRequestInfo says that no stranger shares this service's NATS account, so that the identity NATS sends along with
	// requests from other accounts cannot be forged.
	TrustRequestInfo bool
	// Known, when set, is asked about a command that has expired: it returns the outcome of one that was carried out before, for
	// the client whose reply was lost.
	Known func(ctx context.Context, r *Request) (reply any, err error, known bool)
	// OnRefused, when set, records that a well-formed command was refused, and returns the sequence of that record or 0. It is not
	// called for what is malformed, cannot be decided now, or is a fault of ours, nor for a refusal that has a sequence already.
	OnRefused func(r *Request, e *api.Error) (seq uint64)
	Reg       prometheus.Registerer // nil: not counted there
}

// Service answers requests until it is stopped.
type Service struct {
	nc       *nats.Conn
	o        ServeOptions
	info     identity
	byName   []*endpoint
	verbs    []*drained
	slots    chan struct{}
	inFlight sync.WaitGroup
	requests *prometheus.CounterVec
	panics   atomic.Uint64
	stop     sync.Once
	stopErr  error
}

type endpoint struct {
	api.Endpoint
	name, subject string
	handler       Handler
	sub           *drained

	mu    sync.Mutex
	stats micro.EndpointStats
}

// drained is a subscription and when the last of its messages has been handled.
type drained struct {
	*nats.Subscription
	done chan struct{}
	once sync.Once
}

func (d *drained) over() { d.once.Do(func() { close(d.done) }) }

// Serve answers the handlers' endpoints as one replica of the service name, and shows itself to "nats micro". Replicas share the
// requests. It returns when the server knows of it. Each request has a goroutine of its own; a panic in one is its error.
func Serve(nc *nats.Conn, s events.Subjects, name, version, replica string, handlers map[api.Endpoint]Handler, o ServeOptions) (*Service, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	counter, err := register(o.Reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "go_cluster_requests_total", Help: "Commands and questions answered, by outcome: ok, or the code of the refusal.",
	}, []string{"service", "endpoint", "outcome"}))
	if err != nil {
		return nil, fmt.Errorf("serve %s of cluster %s: %w", name, s.Cluster(), err)
	}
	svc := &Service{nc: nc, o: o, info: newIdentity(s, name, version, replica), slots: make(chan struct{}, maxInFlight), requests: counter}
	for e, h := range handlers {
		ep := &endpoint{Endpoint: e, name: e.Noun + "-" + e.Verb, subject: s.API(e.Noun, e.Verb), handler: h}
		ep.stats = micro.EndpointStats{Name: ep.name, Subject: ep.subject, QueueGroup: svc.info.queue}
		svc.byName = append(svc.byName, ep)
	}
	slices.SortFunc(svc.byName, func(a, b *endpoint) int { return strings.Compare(a.name, b.name) })
	for _, ep := range svc.byName {
		if ep.sub, err = svc.subscribe(ep.subject, svc.info.queue, func(m *nats.Msg) { svc.receive(ep, m) }); err != nil {
			break
		}
	}
	if err == nil {
		err = svc.announce()
	}
	if err == nil {
		// Who is told that it serves may ask at once. While NATS is away nobody can: the client sends its subscriptions when it is back.
		if err = flush(nc, 5*time.Second); err != nil && !nc.IsClosed() {
			o.Log.Warn("not heard by NATS yet", zap.String("service", name), zap.Error(err))
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve %s of cluster %s: %w", name, s.Cluster(), err), svc.Stop())
	}
	return svc, nil
}

func (s *Service) subscribe(subject, queue string, h nats.MsgHandler) (*drained, error) {
	sub, err := s.nc.QueueSubscribe(subject, queue, h)
	if err != nil {
		return nil, err
	}
	d := &drained{Subscription: sub, done: make(chan struct{})}
	sub.SetClosedHandler(func(string) { d.over() })
	return d, nil
}

// Stop takes no new requests, answers those that have arrived, and returns when their replies are on their way. While NATS is not
// connected no reply can be: then it only waits for the handlers that run. More calls return what the first did.
func (s *Service) Stop() error {
	s.stop.Do(func() {
		late := time.NewTimer(s.o.Timeout + 5*time.Second)
		defer late.Stop()
		lost := s.nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING)
		defer s.nc.RemoveStatusListener(lost)
		subs := s.verbs
		for _, e := range s.byName {
			if e.sub != nil {
				subs = append(subs, e.sub)
			}
		}
		for _, d := range subs {
			d.end(s.nc.IsConnected())
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			for _, d := range subs {
				<-d.done
			}
			s.inFlight.Wait()
		}()
		for {
			select {
			case <-answered:
				if s.nc.IsConnected() {
					_ = flush(s.nc, time.Second)
				}
			case <-lost:
				for _, d := range subs {
					d.end(false)
				}
				continue
			case <-late.C:
				s.stopErr = fmt.Errorf("stop %s: some requests were not answered in %s", s.info.name, s.o.Timeout+5*time.Second)
			}
			return
		}
	})
	return s.stopErr
}

// end ends the subscription: when connected, after what the server has sent until it knows. Without a connection the library would
// wait ten seconds for the server to say so.
func (d *drained) end(connected bool) {
	end := d.Unsubscribe
	if connected {
		end = d.Drain
	}
	if end() != nil { // it has ended, or the connection is closed: nothing comes any more
		d.over()
	}
}

// Panics returns how many handlers have panicked.
func (s *Service) Panics() uint64 { return s.panics.Load() }

// receive runs on the subscription's goroutine and must not block.
func (s *Service) receive(e *endpoint, m *nats.Msg) {
	// Whoever can make JetStream deliver a stored message to our subject is not a client: such a message has the subject that it
	// was stored under. Without a place for the answer there is no client either.
	if m.Subject != e.subject || m.Reply == "" {
		s.done(e, 0, &api.Error{Code: api.CodeInvalid, Detail: "not a request: it came on subject " + cut(m.Subject, 200)})
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.reply(e, m, 0, nil, api.Refuse(api.CodeUnavailable, "%s is busy with %d requests: ask again", s.info.name, maxInFlight))
		return
	}
	s.inFlight.Add(1)
	go func() {
		defer func() { <-s.slots; s.inFlight.Done() }()
		start := time.Now()
		body, err := s.answer(e, m)
		s.reply(e, m, time.Since(start), body, err)
	}()
}

func (s *Service) answer(e *endpoint, m *nats.Msg) (body any, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.panics.Add(1)
			s.o.Log.Error("panic in a request", zap.String("endpoint", e.name), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			body, err = nil, api.Refuse(api.CodeInternal, "%s.%s: internal error: %v; it may have taken effect", e.Noun, e.Verb, p)
		}
	}()
	r, refused := open(e.Endpoint, m, s.o.TrustRequestInfo)
	if refused != nil {
		return nil, refused
	}
	if now := s.o.Now(); e.Command && now.After(r.Meta.Expires) {
		if s.o.Known != nil {
			if reply, err, known := s.o.Known(ctx, r); known {
				return reply, err
			}
		}
		return nil, s.record(r, api.Refuse(api.CodeExpired, "%s.%s: command %s arrived %s after its expiry and was not carried out (check the clocks if this happens often)",
			e.Noun, e.Verb, r.Meta.ID, now.Sub(r.Meta.Expires).Round(time.Millisecond)))
	}
	body, err = e.handler(ctx, r)
	var typed *api.Error
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &typed):
		return nil, s.record(r, typed)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, api.Refuse(api.CodeTimeout, "%s.%s: no answer within %s: %v", e.Noun, e.Verb, s.o.Timeout, err)
	}
	s.o.Log.Error("request failed", zap.String("endpoint", e.name), zap.Error(err))
	return nil, api.Refuse(api.CodeInternal, "%s.%s: internal error: %v", e.Noun, e.Verb, err)
}

func (s *Service) record(r *Request, e *api.Error) *api.Error {
	switch e.Code {
	case api.CodeInvalid, api.CodeTimeout, api.CodeUnavailable, api.CodeInternal:
		return e
	}
	if s.o.OnRefused == nil || !r.Endpoint.Command || e.Seq != 0 {
		return e
	}
	recorded := *e // the handler may share its error between requests
	recorded.Seq = s.o.OnRefused(r, e)
	return &recorded
}

// errorBody is what a reply carries instead of an answer.
type errorBody struct {
	Error *api.Error `json:"error"`
}

func (s *Service) reply(e *endpoint, m *nats.Msg, took time.Duration, body any, err error) {
	out := nats.NewMsg(m.Reply)
	var refused *api.Error
	if err == nil {
		var text []byte
		if text, err = json.Marshal(body); err == nil {
			err = pack(m, out, text)
		}
		if err != nil {
			err = api.Refuse(api.CodeInternal, "%s.%s: internal error: encode the answer: %v", e.Noun, e.Verb, err)
		} else if most := s.nc.MaxPayload(); int64(len(out.Data)) > most {
			err = api.Refuse(api.CodeInternal, "%s.%s: the answer has %d bytes, the NATS server takes %d: ask for less", e.Noun, e.Verb, len(out.Data), most)
			out.Header.Del(encodingHeader)
		}
	}
	if errors.As(err, &refused) {
		out.Header.Set(micro.ErrorHeader, cut(refused.Detail, 300))
		out.Header.Set(micro.ErrorCodeHeader, string(refused.Code))
		if out.Data, err = json.Marshal(errorBody{refused}); err != nil {
			out.Data = nil // the headers still say it
		}
	}
	if err := s.nc.PublishMsg(out); err != nil {
		s.o.Log.Warn("reply not sent", zap.String("endpoint", e.name), zap.Error(err))
	}
	s.done(e, took, refused)
}

func (s *Service) done(e *endpoint, took time.Duration, refused *api.Error) {
	outcome := "ok"
	e.mu.Lock()
	e.stats.NumRequests++
	e.stats.ProcessingTime += took
	e.stats.AverageProcessingTime = e.stats.ProcessingTime / time.Duration(e.stats.NumRequests)
	if refused != nil {
		outcome = string(refused.Code)
		e.stats.NumErrors++
		e.stats.LastError = outcome + ": " + cut(refused.Detail, 300)
	}
	e.mu.Unlock()
	s.requests.WithLabelValues(s.info.service, e.name, outcome).Inc()
}
