//go:build linux

package process

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// A command's exit code and a URL's status say yes or no; what they say last is why, and they may say when to ask again.
func TestHooks(t *testing.T) {
	h := open(t, t.TempDir())
	in := testInstance("web-0", "serve")
	if _, err := h.Prepare(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10) // what the URL was told; without the call that is given up, which may come late
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/slow" {
			got <- r.Method + " " + string(b)
		}
		switch r.URL.Path {
		case "/no":
			w.Header().Set("Retry-After", "90")
			http.Error(w, "not now", http.StatusConflict)
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	sh := func(script string) spec.HookRef { return spec.HookRef{Command: []string{"/bin/sh", "-c", script}} }
	for _, c := range []struct {
		name  string
		ref   spec.HookRef
		want  string // code
		says  string
		retry time.Duration
	}{
		{"command says yes", sh(`test "$$GC_HOOK $$GC_HOOK_FROM $$GC_HOOK_TO $$GC_HOOK_REASON $GC_INSTANCE" = "on_migration_start node-1 node-2 drain web-0"`), "", "", 0},
		{"command says no", sh(`echo checking; echo retry-after: 2m; echo "17 requests are under way" >&2; exit 3`), events.HookVetoed, "17 requests are under way", 2 * time.Minute},
		{"command says nothing", sh(`exit 3`), events.HookVetoed, "exit status 3", 0},
		{"command is killed", sh(`kill -9 $$$$`), events.HookPanicked, "signal: killed", 0},
		{"command hangs", sh(`sleep 60`), events.HookLate, "it did not end in time (200ms)", 0},
		{"no such command", spec.HookRef{Command: []string{"/nowhere/hook"}}, events.HookBroken, "no such file", 0},
		{"URL says yes", spec.HookRef{URL: srv.URL + "/yes/$GC_APP"}, "", "", 0},
		{"URL says no", spec.HookRef{URL: srv.URL + "/no"}, events.HookVetoed, "not now", 90 * time.Second},
		{"URL hangs", spec.HookRef{URL: srv.URL + "/slow"}, events.HookLate, "it did not end in time (200ms)", 0},
		{"nobody listens", spec.HookRef{URL: "http://127.0.0.1:1/x"}, events.HookBroken, "connection refused", 0},
	} {
		call := agent.HookCall{Name: spec.HookMigrationStart, From: "node-1", To: "node-2", Reason: "drain", Timeout: patience}
		if c.want == events.HookLate {
			call.Timeout = 200 * time.Millisecond
		}
		in.App.Hooks = map[string]spec.HookRef{call.Name: c.ref}
		err := h.Hook(t.Context(), in, call)
		var no *agent.HookError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "":
		case !errors.As(err, &no):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		case no.Code != c.want || !strings.Contains(no.Detail, c.says) || no.RetryAfter != c.retry:
			t.Errorf("%s: %+v, want %s %q %s", c.name, no, c.want, c.says, c.retry)
		}
	}
	for range 2 { // yes and no
		select {
		case told := <-got:
			if want := `POST {"hook":"on_migration_start","app":"web","instance":"web-0","node":"node-1","from":"node-1","to":"node-2","reason":"drain"}`; told != want {
				t.Errorf("the URL was told %s, want %s", told, want)
			}
		default:
			t.Error("the URL was told nothing")
		}
	}
}
