package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func portOf(t *testing.T, raw string) int {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestProbes(t *testing.T) {
	var (
		notReady error
		details  []string
	)
	p := NewProbes(func() error { return notReady }, func() []string { return details }, NewRegistry())
	get := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		method, path string
		notReady     error
		details      []string
		status       int
		says         string
	}{
		{"GET", "/healthz", errors.New("behind"), nil, 200, "alive\n"},
		{"GET", "/readyz", nil, nil, 200, "ready\n"},
		{"GET", "/readyz", errors.New("planner: 12 events behind"), nil, 503, "not ready: planner: 12 events behind\n"},
		{"GET", "/readyz", nil, []string{"app/web is quarantined: hash"}, 200, "ready\napp/web is quarantined: hash\n"},
		{"GET", "/readyz", errors.New("behind"), []string{"app/web is quarantined: hash"}, 503, "not ready: behind\napp/web is quarantined: hash\n"},
		{"GET", "/metrics", nil, nil, 200, "go_goroutines"},
		{"POST", "/readyz", nil, nil, 405, ""},
		{"GET", "/debug/pprof/", nil, nil, 404, ""},
	} {
		notReady, details = c.notReady, c.details
		if status, body := get(c.method, c.path); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: got %d %.80q, want %d %q", c.method, c.path, status, body, c.status, c.says)
		}
	}
}

func TestServeProbes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr, err := ServeProbes(ctx, "127.0.0.1:0", func() error { return nil }, nil, NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ServeProbes(ctx, addr, func() error { return nil }, nil, NewRegistry()); err == nil {
		t.Error("two servers on one address")
	}
	res, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || string(b) != "alive\n" {
		t.Errorf("got %q, %v", b, err)
	}
	cancel()
	for { // closing follows the context on its own goroutine
		res, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			return
		}
		res.Body.Close()
	}
}
