package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
)

// requestLimit bounds one request and its reply.
const requestLimit = 5 * time.Second

// client is a session's connection to one cluster.
type client struct {
	*session
	nc       *nats.Conn
	subjects events.Subjects
	actor    string
	denied   atomic.Pointer[error] // what NATS forbade first
}

// connect reaches NATS and settles which cluster is meant. The caller closes the client.
func (s *session) connect() (*client, error) { return s.connectWithin(requestLimit) }

func (s *session) connectWithin(limit time.Duration) (*client, error) {
	options, err := s.connectOptions(limit)
	if err != nil {
		return nil, err
	}
	c := &client{session: s, actor: actorOf(options.person)}
	options.Extra = append(options.Extra, nats.ErrorHandler(c.asyncError))
	nc, err := s.dial(options)
	if err != nil && s.ctx.Err() != nil {
		return nil, s.unanswered("connect to NATS at " + transport.Redacted(options.Servers))
	}
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause
		}
		return nil, fail(exitUnreachable, "connect to NATS at %s: %w", transport.Redacted(options.Servers), err).
			try("go-cluster --server URL, or nats context select NAME; go-cluster dev starts a cluster of your own")
	}
	cluster := s.Cluster
	if cluster == "" {
		if cluster, err = s.onlyCluster(nc, limit); err != nil {
			nc.Close()
			return nil, err
		}
	}
	subjects, err := events.NewSubjects(cluster)
	if err != nil {
		nc.Close()
		return nil, fail(exitUsage, "--cluster: %w", err)
	}
	c.nc, c.subjects = nc, subjects
	return c, nil
}

// dial connects, or gives up when the session ends. The library connects without a context: what comes late is closed.
func (s *session) dial(o connectOptions) (*nats.Conn, error) {
	type result struct {
		nc  *nats.Conn
		err error
	}
	dialled := make(chan result, 1)
	go func() {
		nc, err := transport.Connect(o.ConnectOptions)
		dialled <- result{nc, err}
	}()
	select {
	case r := <-dialled:
		return r.nc, r.err
	case <-s.ctx.Done():
		go func() {
			if r := <-dialled; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, s.ctx.Err()
	}
}

// unanswered is the error of what the end of the session has cut short.
func (s *session) unanswered(what string) error {
	if err := s.ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fail(exitTimeUp, "%s: time is up before an answer", what)
}

// asyncError keeps what NATS forbids: the request concerned only goes unanswered.
func (c *client) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.denied.CompareAndSwap(nil, &err)
	}
}

func (c *client) close() { c.nc.Close() }

type connectOptions struct {
	transport.ConnectOptions
	person string
}

// connectOptions merges the flags over the nats CLI's context. A server given by hand is not joined with the selected context:
// its credentials are for another server.
func (s *session) connectOptions(limit time.Duration) (connectOptions, error) {
	o := connectOptions{person: osUser()}
	o.Name = "go-cluster"
	o.Extra = []nats.Option{nats.Timeout(limit), nats.RetryOnFailedConnect(false)}
	name := s.Context
	if name == "" && s.Server == "" {
		name = natscontext.SelectedContext()
	}
	if name != "" {
		nctx, err := natscontext.New(name, true)
		if err != nil {
			return o, fail(exitUsage, "NATS context %q: %w", name, err).try("nats context ls")
		}
		extra, err := nctx.NATSOptions()
		if err != nil {
			return o, fail(exitUsage, "NATS context %q: %w", name, err)
		}
		o.Extra = append(o.Extra, extra...)
		o.Servers = nctx.ServerURL()
		o.person = cmp.Or(credsUser(nctx.Creds()), nctx.User(), o.person)
	}
	o.Servers = cmp.Or(s.Server, o.Servers, nats.DefaultURL)
	if s.Creds != "" {
		o.Extra = append(o.Extra, nats.UserCredentials(s.Creds)) // after those of the context, so that it wins
		if _, err := os.Stat(s.Creds); err != nil {
			return o, fail(exitUsage, "--creds: %w", err)
		}
		o.person = cmp.Or(credsUser(s.Creds), o.person)
	}
	return o, nil
}

// credsUser returns the name in a credentials file's user token, or "" when it cannot be read: NATS itself will say why.
func credsUser(file string) string {
	if file == "" {
		return ""
	}
	b, err := os.ReadFile(strings.TrimPrefix(file, "file://"))
	if err != nil {
		return ""
	}
	token, err := jwt.ParseDecoratedJWT(b)
	if err != nil {
		return ""
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return ""
	}
	return cmp.Or(claims.Name, claims.Subject)
}

// actorOf is the name under which a person's commands are recorded: what the control plane takes is one word of ASCII.
func actorOf(person string) string {
	const most = 128
	name := "cli:" + strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, person)
	return name[:min(most, len(name))]
}

func osUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return cmp.Or(os.Getenv("USER"), "unknown")
}

// onlyCluster asks every micro service on the server which cluster it belongs to.
func (s *session) onlyCluster(nc *nats.Conn, limit time.Duration) (string, error) {
	found, err := clusters(s.ctx, nc, limit)
	if s.ctx.Err() != nil { // who would have answered is not known
		return "", s.unanswered("look for clusters on " + nc.ConnectedUrlRedacted())
	}
	if err != nil {
		return "", fail(exitUnreachable, "look for clusters on %s: %w", nc.ConnectedUrlRedacted(), err).
			try("go-cluster --cluster NAME")
	}
	switch len(found) {
	case 0:
		return "", fail(exitUnreachable, "no cluster on %s: no control plane answers there", nc.ConnectedUrlRedacted()).
			try("go-cluster serve all, or go-cluster --server URL for another server")
	case 1:
		return found[0], nil
	}
	return "", fail(exitUsage, "several clusters on %s: %s", nc.ConnectedUrlRedacted(), strings.Join(found, ", ")).
		try("go-cluster --cluster %s, or set GO_CLUSTER", found[0])
}

// clusters lists the clusters, sorted, whose services answer a ping. It stops listening a multiple of the first answer's delay
// after that answer, so that a far-away second cluster is not missed and a near one costs nothing.
func clusters(ctx context.Context, nc *nats.Conn, limit time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, min(limit, 2*time.Second))
	defer cancel()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	asked := time.Now()
	if err := nc.PublishRequest("$SRV.PING", inbox, nil); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for first := true; ; {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
			return slices.Sorted(maps.Keys(found)), nil
		case err != nil:
			return nil, err
		}
		if m.Header.Get("Status") == "503" {
			return nil, nil
		}
		var pong struct {
			Metadata map[string]string `json:"metadata"`
		}
		if err := json.Unmarshal(m.Data, &pong); err == nil && pong.Metadata["cluster"] != "" {
			found[pong.Metadata["cluster"]] = true
		}
		if first {
			first = false
			var quiet context.CancelFunc
			ctx, quiet = context.WithTimeout(ctx, max(30*time.Millisecond, 5*time.Since(asked)))
			defer quiet()
		}
	}
}

// call asks one endpoint, within the limit of one request. The error is an *api.Error, or an *exit when NATS itself
// forbids the request.
func call[Req, Rep any](c *client, ep api.Endpoint, req Req) (Rep, error) {
	return callCtx[Req, Rep](c.ctx, c, ep, req)
}

func callCtx[Req, Rep any](ctx context.Context, c *client, ep api.Endpoint, req Req) (Rep, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	rep, err := transport.Call[Req, Rep](ctx, c.nc, c.subjects, ep, req)
	if denied := c.denied.Load(); err != nil && denied != nil {
		return rep, fail(exitUnreachable, "%s %s: %w", ep.Noun, ep.Verb, *denied).try("go-cluster --creds FILE, with a user that may do this")
	}
	return rep, err
}

// command is the Meta of a request that may change something: its id makes a repetition harmless.
func (c *client) command() api.Meta { return transport.NewMeta(c.actor, time.Now(), 2*requestLimit) }

// question is the Meta of a request that changes nothing; minSeq is what the answer must have seen.
func (c *client) question(minSeq uint64) api.Meta { return api.Meta{MinSeq: minSeq, Actor: c.actor} }
