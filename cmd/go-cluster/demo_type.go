//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
)

// addressed is the beginning of every command line: the environment of whoever runs the demo must not lead it elsewhere.
func (d *demo) addressed() []string {
	return []string{"--server", d.cluster.at.servers, "--cluster", demoName, "--context=", "--creds="}
}

// cli runs a command line as typed, in front of the audience, and returns what it printed. Another exit code than want is a failed
// check.
func (d *demo) cli(ctx context.Context, want int, line string) (string, error) {
	d.typed("go-cluster " + line)
	return d.answer(ctx, want, line)
}

// answer is cli for a line that is already on the screen.
func (d *demo) answer(ctx context.Context, want int, line string) (string, error) {
	w := d.answers()
	began := time.Now()
	code := run(ctx, append(d.addressed(), strings.Fields(line)...), strings.NewReader(""), w, w)
	w.close()
	d.spent(code, time.Since(began))
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if code != want {
		return "", &failedCheck{what: "go-cluster " + line, expected: fmt.Sprintf("exit code %d", want), seen: fmt.Sprintf("exit code %d, %s", code, w.text())}
	}
	return w.text(), nil
}

// lookUp runs a command behind the scenes and reads its answer.
func lookUp[T any](ctx context.Context, d *demo, line string) (T, error) {
	var (
		v           T
		out, errors bytes.Buffer
	)
	args := append(append(d.addressed(), "-o", "json"), strings.Fields(line)...)
	if code := run(ctx, args, strings.NewReader(""), &out, &errors); code != exitDone {
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		return v, fmt.Errorf("go-cluster %s: exit code %d: %s", line, code, strings.TrimSpace(errors.String()))
	}
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		return v, fmt.Errorf("go-cluster %s: %w", line, err)
	}
	return v, nil
}

// logSince returns the events from a sequence on, as the events command prints them.
func (d *demo) logSince(ctx context.Context, seq uint64) ([]loggedEvent, error) {
	var out, errors bytes.Buffer
	args := append(d.addressed(), "events", "--since-seq", fmt.Sprint(seq))
	if code := run(ctx, args, strings.NewReader(""), &out, &errors); code != exitDone {
		return nil, fmt.Errorf("go-cluster events: exit code %d: %s", code, strings.TrimSpace(errors.String()))
	}
	var log []loggedEvent
	for line := range strings.Lines(out.String()) {
		var e loggedEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("event %s: %w", line, err)
		}
		log = append(log, e)
	}
	return log, nil
}

// loggedEvent is an event and what led to it.
type loggedEvent struct {
	eventLine `json:",inline"`
	ID        string `json:"id"`
	Cause     string `json:"cause"`
}

// demoHTTP opens a connection for each request, as a new client would.
var demoHTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}

// get asks one URL.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r, err := demoHTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return "", err
	}
	if r.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, r.Status)
	}
	return strings.TrimSpace(string(b)), nil
}
