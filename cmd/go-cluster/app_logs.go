package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

type appLogs struct {
	App      string `arg:"" predictor:"app" help:"App whose output is wanted."`
	Follow   bool   `short:"f" help:"Go on with what is written later, also after the instance has moved."`
	Tail     int    `default:"-1" placeholder:"N" help:"Begin with the newest so many lines. Default: all that is kept."`
	Instance string `placeholder:"ID" help:"Only this instance. Default: every one, each line with its instance in front."`
}

// Help is printed by kong.
func (*appLogs) Help() string {
	return `Examples:
  go-cluster app logs convex
  go-cluster app logs convex -f --tail 20
  go-cluster app logs web --instance web-2`
}

// Run is called by kong.
func (cmd *appLogs) Run(s *session) error {
	if s.structured() {
		return fail(exitUsage, "--output %s: what an app writes is printed as it is", s.Output)
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	app, err := c.app(cmd.App, 0)
	if err != nil {
		return err
	}
	instances, err := cmd.choose(app)
	if err != nil {
		return err
	}
	out := &logWriter{session: s, prefix: len(instances) > 1}
	var g errgroup.Group
	for _, i := range instances {
		r := &logReader{client: c, cmd: cmd, out: out, instance: i.ID, node: i.Node}
		g.Go(r.read)
	}
	err = g.Wait()
	if s.ctx.Err() != nil {
		return s.streamEnded(err)
	}
	return err
}

// choose returns the instances that are on a node and write there: standbys, and what is prepared for a move, do not. Of one that is on two nodes
// while it moves the one to follow is where it came from: it is followed to the other.
func (cmd *appLogs) choose(app api.AppDetail) ([]api.InstanceView, error) {
	var (
		chosen []api.InstanceView
		known  []string
	)
	for _, i := range app.Instances {
		again := slices.Contains(known, i.ID)
		idle := i.Role == api.RoleStandby && (again || i.ID != spec.InstanceID(app.Name, 0)) // an instance that is only being placed shows as one, too
		if i.Node == "" || idle || again && cmd.Follow {
			continue
		}
		if !again {
			known = append(known, i.ID)
		}
		if cmd.Instance == "" || cmd.Instance == i.ID {
			chosen = append(chosen, i)
		}
	}
	switch {
	case len(chosen) > 0:
		return chosen, nil
	case slices.ContainsFunc(app.Instances, func(i api.InstanceView) bool { return i.ID == cmd.Instance && i.Role == api.RoleStandby }):
		return nil, fail(exitNotFound, "instance %s of %s is a standby, which writes nothing; those that do: %s", cmd.Instance, app.Name, orNone(known))
	case cmd.Instance != "":
		return nil, fail(exitNotFound, "instance %s of %s is on no node; those that are: %s", cmd.Instance, app.Name, orNone(known))
	}
	return nil, fail(exitNotFound, "no instance of %s is on a node", app.Name).try("go-cluster app show %s", app.Name)
}

// logReader prints one instance's output, wherever it runs.
type logReader struct {
	*client
	cmd      *appLogs
	out      *logWriter
	instance string
	node     string
}

func (r *logReader) read() error {
	for tail := r.cmd.Tail; ; {
		err := r.stream(tail)
		r.out.flush(r.instance)
		if r.ctx.Err() != nil || !r.cmd.Follow {
			return err
		}
		if err != nil {
			if code := codeOf(err); code != exitUnreachable && code != exitNotFound {
				return err
			}
			r.out.note("%s: %v", r.instance, err)
		}
		moved, found, err := r.locate()
		if err != nil || !found {
			return err
		}
		// A new node has nothing of what was printed, the same one has all of it.
		if tail = 0; moved {
			tail = -1
			r.out.note("%s is on %s now", r.instance, r.node)
		}
	}
}

// stream prints what one node has until the agent says that this is all.
func (r *logReader) stream(tail int) error {
	inbox := r.nc.NewInbox()
	sub, err := r.nc.SubscribeSync(inbox)
	if err != nil {
		return fail(exitUnreachable, "logs of %s: %w", r.instance, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	_, err = call[api.LogsRequest, api.LogsReply](r.client, api.LogsEndpoint(r.node),
		api.LogsRequest{Meta: r.question(0), Instance: r.instance, Tail: tail, Follow: r.cmd.Follow, Inbox: inbox})
	if err != nil {
		return fmt.Errorf("logs of %s: %w", r.instance, err)
	}
	for {
		m, err := r.chunk(sub)
		if err != nil {
			return err
		}
		if err := r.out.write(r.instance, m.Data); err != nil {
			return fail(exitError, "logs of %s: %w", r.instance, err)
		}
		// Answered only once it is written, so that a slow terminal slows the agent and nothing piles up here.
		if err := m.Respond(nil); err != nil && !errors.Is(err, nats.ErrMsgNoReply) {
			return fail(exitUnreachable, "logs of %s: %w", r.instance, err)
		}
		if why := m.Header.Get(api.LogsError); why != "" {
			return fail(exitError, "logs of %s on %s: %s", r.instance, r.node, why)
		}
		if m.Header.Get(api.LogsDone) != "" {
			return nil
		}
	}
}

func (r *logReader) chunk(sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(r.ctx, api.LogsSilence)
	defer cancel()
	m, err := sub.NextMsgWithContext(ctx)
	switch {
	case err == nil:
		return m, nil
	case r.ctx.Err() != nil:
		return nil, r.ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fail(exitUnreachable, "logs of %s: node %s has been silent for %s", r.instance, r.node, span(api.LogsSilence)).
			try("go-cluster node show %s", r.node)
	}
	return nil, fail(exitUnreachable, "logs of %s: %w", r.instance, err)
}

// locate waits until the instance runs somewhere again; found is false once it exists no more.
func (r *logReader) locate() (moved, found bool, err error) {
	for {
		if err := pause(r.ctx, retryPause); err != nil {
			return false, false, err
		}
		app, err := r.app(r.cmd.App, 0)
		switch code := api.CodeOf(err); {
		case err == nil:
		case code == api.CodeNotFound:
			return false, false, nil
		case code == api.CodeUnavailable, code == api.CodeTimeout:
			continue
		default:
			return false, false, err
		}
		i := slices.IndexFunc(app.Instances, func(v api.InstanceView) bool { return v.ID == r.instance })
		if i < 0 {
			return false, false, nil
		}
		v := app.Instances[i]
		if v.Node == "" || v.Node == r.node && (v.State == api.InstanceStopping || v.State == api.InstanceStopped || v.State == api.InstanceFailed) {
			continue
		}
		moved = v.Node != r.node
		r.node = v.Node
		return moved, true, nil
	}
}

// logWriter merges the output of instances by whole lines. A single instance is passed on as it comes.
type logWriter struct {
	*session
	prefix bool

	mu      sync.Mutex
	partial map[string]string // last, unfinished line of each instance
}

func (w *logWriter) write(instance string, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.prefix {
		_, err := w.out.Write(b)
		return err
	}
	if w.partial == nil {
		w.partial = map[string]string{}
	}
	text := w.partial[instance] + string(b)
	for {
		line, rest, whole := strings.Cut(text, "\n")
		// A line without an end must not grow without bound.
		if !whole && len(text) <= api.MaxLogsChunk {
			w.partial[instance] = text
			return nil
		}
		if _, err := fmt.Fprintf(w.out, "%s %s\n", w.style.faint(instance+" |"), line); err != nil {
			return err
		}
		text = rest
	}
}

// flush ends an instance's unfinished line.
func (w *logWriter) flush(instance string) {
	w.mu.Lock()
	text := w.partial[instance]
	delete(w.partial, instance)
	w.mu.Unlock()
	if text != "" {
		_ = w.write(instance, []byte(text+"\n"))
	}
}

func (w *logWriter) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notef("-- "+format, args...)
}
