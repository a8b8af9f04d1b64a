//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

var _ agent.Hooker = (*Driver)(nil)

// hookBody is what a URL is told.
type hookBody struct {
	Hook     string `json:"hook"`
	App      string `json:"app"`
	Instance string `json:"instance"`
	Node     string `json:"node"`
	From     string `json:"from"`
	To       string `json:"to"`
	Reason   string `json:"reason"`
}

// Hook implements agent.Hooker. A command runs like an exec check, with GC_HOOK, GC_HOOK_FROM, GC_HOOK_TO and GC_HOOK_REASON in its
// environment; a URL gets a POST with the same as JSON. Exit code 0 and a status of 2xx are a yes. Anything else is a refusal: its last
// line says why, and a line "retry-after: 30s", or the header Retry-After, when to ask again.
func (d *Driver) Hook(ctx context.Context, i agent.Instance, call agent.HookCall) error {
	in := &instance{id: i.ID}
	in.rec.Instance = i
	d.mu.Lock()
	if is := d.instances[i.ID]; is != nil {
		in.rec.Ports = maps.Clone(is.rec.Ports)
		in.rec.Instance.Role, in.rec.Instance.Epoch = is.rec.Instance.Role, is.rec.Instance.Epoch
	}
	d.mu.Unlock()
	ref := i.App.Hooks[call.Name]
	limit, cancel := context.WithTimeout(ctx, call.Timeout)
	defer cancel()
	var err error
	if ref.URL != "" {
		err = d.post(limit, in, ref.URL, call)
	} else {
		err = d.execute(limit, in, ref.Command, call)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case limit.Err() != nil:
		return &agent.HookError{Code: events.HookLate, Detail: fmt.Sprintf("%s: it did not end in time (%s)", call.Name, call.Timeout)}
	}
	var h *agent.HookError
	if errors.As(err, &h) {
		return h
	}
	return &agent.HookError{Code: events.HookBroken, Detail: fmt.Sprintf("%s: %v", call.Name, err)}
}

func (d *Driver) execute(ctx context.Context, in *instance, command []string, call agent.HookCall) error {
	p, err := d.program(in, command)
	if err != nil {
		return err
	}
	p.env = append(p.env, "GC_HOOK="+call.Name, "GC_HOOK_FROM="+call.From, "GC_HOOK_TO="+call.To, "GC_HOOK_REASON="+call.Reason)
	output, err := runProgram(ctx, p)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	why, retry := refusal(output)
	if why == "" {
		why = exit.Error()
	}
	code := events.HookVetoed
	if !exit.Exited() {
		code = events.HookPanicked
	}
	return &agent.HookError{Code: code, Detail: why, RetryAfter: retry}
}

// refusal takes the last line of a hook's output that says why, and when to ask again.
func refusal(output string) (why string, retry time.Duration) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if value, is := strings.CutPrefix(strings.ToLower(line), "retry-after:"); is {
			retry = retryAfter(strings.TrimSpace(value))
		} else if line != "" {
			why = line
		}
	}
	return strings.ToValidUTF8(why[:min(len(why), 300)], "?"), retry
}

// retryAfter reads a number of seconds or a duration; 0 for anything else.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	t, _ := time.ParseDuration(s)
	return max(0, t)
}

func (d *Driver) post(ctx context.Context, in *instance, url string, call agent.HookCall) error {
	i := in.rec.Instance
	url, err := spec.Expand(url, d.vars(in))
	if err != nil {
		return err
	}
	body, err := json.Marshal(hookBody{call.Name, i.App.Name, i.ID, i.Node, call.From, call.To, call.Reason})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "go-cluster-hook")
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return errors.Unwrap(err) // the outer one repeats the URL
	}
	defer func() { _ = resp.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil
	}
	why, retry := refusal(string(said))
	if why == "" {
		why = "status " + resp.Status
	}
	if h := resp.Header.Get("Retry-After"); h != "" {
		retry = retryAfter(h)
	}
	return &agent.HookError{Code: events.HookVetoed, Detail: why, RetryAfter: retry}
}
