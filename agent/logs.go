package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport"
)

// maxLogStreams bounds the log streams of a node at one time.
const maxLogStreams = 32

// serveLogs answers requests for the output of instances until ctx ends.
func (a *agent) serveLogs(ctx context.Context) {
	var (
		streams sync.WaitGroup
		slots   = make(chan struct{}, maxLogStreams)
	)
	defer streams.Wait()
	handle := func(_ context.Context, r *transport.Request) (any, error) {
		req, err := transport.Decode[api.LogsRequest](r)
		if err != nil {
			return nil, err
		}
		if !isInbox(req.Inbox) {
			return nil, &api.Error{Code: api.CodeInvalid, Field: "inbox", Detail: "logs: inbox: want a subject of the client's own"}
		}
		if _, ok := a.cfg.Driver.Status(req.Instance); !ok {
			return nil, api.Refuse(api.CodeNotFound, "logs: instance %q is not on node %s", req.Instance, a.cfg.Node)
		}
		select {
		case slots <- struct{}{}:
		default:
			return nil, api.Refuse(api.CodeRefused, "logs: node %s already sends %d log streams: end one of them", a.cfg.Node, maxLogStreams)
		}
		streams.Go(func() {
			defer func() { <-slots }()
			a.streamLogs(ctx, req)
		})
		return api.LogsReply{Node: a.cfg.Node, Instance: req.Instance}, nil
	}
	for {
		svc, err := transport.Serve(a.cfg.NC, a.subjects, "agent", a.cfg.Version, a.cfg.Node,
			map[api.Endpoint]transport.Handler{api.LogsEndpoint(a.cfg.Node): handle}, transport.ServeOptions{Log: a.cfg.Log, Now: a.cfg.Clock.Now})
		if err == nil {
			<-ctx.Done()
			if err := svc.Stop(); err != nil {
				a.cfg.Log.Warn("log requests", zap.Error(err))
			}
			return
		}
		a.cfg.Log.Warn("log requests are not answered yet", zap.Error(err))
		if !sleep(ctx, time.Second) {
			return
		}
	}
}

// isInbox refuses subjects that mean something to somebody else: this agent may be allowed to publish there, and the client not.
func isInbox(s string) bool {
	if s == "" || strings.ContainsAny(s, " \t\r\n*>") || strings.HasPrefix(s, "gc.") || strings.HasPrefix(s, "$") {
		return false
	}
	for token := range strings.SplitSeq(s, ".") {
		if token == "" {
			return false
		}
	}
	return true
}

// streamLogs sends what the request asks for and then how it ended.
func (a *agent) streamLogs(ctx context.Context, req api.LogsRequest) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &chunks{ctx: ctx, nc: a.cfg.NC, inbox: req.Inbox, last: time.Now()}
	var alive sync.WaitGroup
	alive.Go(func() {
		if err := c.keepAlive(); err != nil {
			cancel(err)
		}
	})
	err := a.cfg.Driver.Logs(ctx, req.Instance, req.Tail, req.Follow, c)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("the agent of node %s ends", a.cfg.Node)
	}
	cancel(nil)
	alive.Wait()
	c.end(err)
}

// chunks sends the bytes written to it as requests, each after the answer to the one before. It is safe for concurrent use.
type chunks struct {
	ctx   context.Context
	nc    *nats.Conn
	inbox string

	mu   sync.Mutex
	last time.Time // when something was last sent
}

// Write implements io.Writer.
func (c *chunks) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		end := min(n+api.MaxLogsChunk, len(p))
		if err := c.send(c.ctx, p[n:end], nil); err != nil {
			return n, err
		}
		n = end
	}
	return len(p), nil
}

func (c *chunks) send(ctx context.Context, p []byte, h nats.Header) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, api.LogsSilence)
	defer cancel()
	_, err := c.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: c.inbox, Data: p, Header: h})
	c.last = time.Now()
	if err != nil {
		return fmt.Errorf("the reader is gone: %w", err)
	}
	return nil
}

// keepAlive sends an empty chunk whenever nothing was sent for a while, until the context ends. A reader that is gone is noticed
// by that too.
func (c *chunks) keepAlive() error {
	tick := time.NewTicker(api.LogsKeepAlive / 4)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case <-tick.C:
		}
		c.mu.Lock()
		quiet := time.Since(c.last)
		c.mu.Unlock()
		if quiet < api.LogsKeepAlive/2 {
			continue
		}
		if err := c.send(c.ctx, nil, nil); err != nil && c.ctx.Err() == nil {
			return err
		}
	}
}

// end says how the stream ended. Whether somebody still listens does not matter.
func (c *chunks) end(err error) {
	h := nats.Header{}
	if err == nil {
		h.Set(api.LogsDone, "true")
	} else {
		h.Set(api.LogsError, strings.NewReplacer("\r", " ", "\n", " ").Replace(shorten(err.Error())))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.send(ctx, nil, h)
}
