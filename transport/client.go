package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

const (
	callTimeout = 5 * time.Second
	firstPause  = 25 * time.Millisecond
	lastPause   = 500 * time.Millisecond
	attemptMin  = 2 * time.Second
)

// NewMeta returns what a new command needs: an id of its own, and the time until which it may be carried out. A repetition of the
// same command uses the same Meta.
func NewMeta(actor string, now time.Time, ttl time.Duration) api.Meta {
	return api.Meta{ID: rand.Text(), Expires: now.Add(ttl).UTC(), Actor: actor}
}

// Call sends a command or question and returns its answer. ctx bounds it, 5 s where it has no deadline. Within that time it
// asks again when no service answers, when the service cannot decide now, and when the reply may have been lost; a command
// keeps its id, so that it is carried out once. Fields of the reply that this version does not know are ignored.
//
// The error is always an *api.Error. After CodeTimeout a command may have been carried out, and its id tells.
func Call[Req, Rep any](ctx context.Context, nc *nats.Conn, s events.Subjects, e api.Endpoint, req Req) (Rep, error) {
	var none, rep Rep
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	data, err := json.Marshal(req)
	if err != nil {
		return none, api.Refuse(api.CodeInvalid, "%s.%s: encode the request: %v", e.Noun, e.Verb, err)
	}
	if len(data) > api.MaxRequest {
		return none, api.Refuse(api.CodeInvalid, "%s.%s: the request has %d bytes, at most %d allowed", e.Noun, e.Verb, len(data), api.MaxRequest)
	}
	var meta api.Meta
	if err := json.Unmarshal(data, &meta); err != nil || e.Command && meta.ID == "" {
		return none, &api.Error{Code: api.CodeInvalid, Field: "id", Detail: fmt.Sprintf("%s.%s: a command needs an id", e.Noun, e.Verb)}
	}
	c := call{Endpoint: e, nc: nc, cluster: s.Cluster(), subject: s.API(e.Noun, e.Verb), id: meta.ID, began: time.Now()}
	m, refused := c.run(ctx, data)
	if refused != nil {
		return none, refused
	}
	text, err := unpack(m)
	if err == nil {
		err = json.Unmarshal(text, &rep)
	}
	if err != nil {
		return none, api.Refuse(api.CodeInternal, "%s.%s: the answer of %s cannot be read: %v", e.Noun, e.Verb, e.Service, err)
	}
	return rep, nil
}

type call struct {
	api.Endpoint
	nc                   *nats.Conn
	cluster, subject, id string
	began                time.Time
	lost                 bool // an attempt was sent, and nothing came back
}

func (c *call) run(ctx context.Context, data []byte) (*nats.Msg, *api.Error) {
	var last *api.Error
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		m, err := c.attempt(ctx, data)
		if err == nil {
			refused := refusal(m)
			switch {
			case refused == nil:
				return m, nil
			case refused.Code == api.CodeExpired && c.lost:
				return nil, c.unknown() // this try came too late; what became of the earlier one is not said
			case refused.Code != api.CodeUnavailable:
				return nil, refused
			}
			last = refused
		} else if c.nc.IsClosed() || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) {
			return nil, api.Refuse(api.CodeUnavailable, "%s.%s: %v", c.Noun, c.Verb, err)
		} else {
			last = c.explain(err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			if ctx.Err() == nil {
				continue
			}
		case <-ctx.Done():
			timer.Stop()
		}
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return nil, api.Refuse(api.CodeTimeout, "%s.%s: given up: %v%s", c.Noun, c.Verb, ctx.Err(), c.advice())
		case c.lost && c.Command:
			return nil, c.unknown()
		}
		return nil, last
	}
}

// attempt sends the request once. It ends early when the connection was lost and is back: the reply went to the old one. A
// command may be sent again to another replica when this one is silent; a question may be a long poll, and is left to wait.
func (c *call) attempt(ctx context.Context, data []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok && c.Command {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, max(attemptMin, time.Until(deadline)/2))
		defer done()
	}
	back := c.nc.StatusChanged(nats.CONNECTED)
	defer c.nc.RemoveStatusListener(back)
	go func() {
		select {
		case <-back:
			cancel()
		case <-ctx.Done():
		}
	}()
	m, err := c.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: c.subject, Header: nats.Header{acceptHeader: {gzipEncoding}}, Data: data})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		c.lost = true
	}
	return m, err
}

func (c *call) explain(err error) *api.Error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return api.Refuse(api.CodeUnavailable, "cluster %s: no %s answers %s.%s: check that one runs (go-cluster serve), that it uses the same NATS servers and account, and that the cluster's name is right",
			c.cluster, c.Service, c.Noun, c.Verb)
	case c.lost:
		return api.Refuse(api.CodeTimeout, "%s.%s: the %s of cluster %s gave no answer in %s%s",
			c.Noun, c.Verb, c.Service, c.cluster, time.Since(c.began).Round(time.Millisecond), c.advice())
	}
	return api.Refuse(api.CodeUnavailable, "%s.%s: NATS at %s cannot be reached: %v", c.Noun, c.Verb, c.where(), err)
}

func (c *call) where() string {
	if at := c.nc.ConnectedUrlRedacted(); at != "" {
		return at
	}
	var out []string
	for _, s := range c.nc.Servers() {
		if u, err := url.Parse(s); err == nil {
			out = append(out, u.Redacted())
		}
	}
	return strings.Join(out, ", ")
}

func (c *call) unknown() *api.Error {
	return api.Refuse(api.CodeTimeout, "%s.%s: no answer from the %s of cluster %s in %s: whether it was carried out is not known%s",
		c.Noun, c.Verb, c.Service, c.cluster, time.Since(c.began).Round(time.Millisecond), c.advice())
}

func (c *call) advice() string {
	if !c.Command {
		return ""
	}
	return fmt.Sprintf("; repeat it with id %s, which is carried out at most once", c.id)
}

func refusal(m *nats.Msg) *api.Error {
	code := m.Header.Get(micro.ErrorCodeHeader)
	if code == "" {
		return nil
	}
	var body errorBody
	if err := json.Unmarshal(m.Data, &body); err != nil || body.Error == nil {
		return api.Refuse(api.Code(code), "%s", m.Header.Get(micro.ErrorHeader))
	}
	return body.Error
}
