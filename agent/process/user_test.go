//go:build linux

package process

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-cluster/go-cluster/spec"
)

func TestIdentify(t *testing.T) {
	for name, c := range map[string]struct {
		e         spec.Execution
		euid      int
		allowRoot bool
		want      string // part of the error; "" for none
	}{
		"root agent, no user":                 {want: "names no user"},
		"root agent, no user, allowed":        {allowRoot: true},
		"root on purpose":                     {e: spec.Execution{User: "root"}},
		"root by number":                      {e: spec.Execution{User: "0"}, want: "root under another name"},
		"user":                                {e: spec.Execution{User: "nobody"}},
		"unknown uid":                         {e: spec.Execution{User: "54321"}, want: "set group as well"},
		"unknown uid with group":              {e: spec.Execution{User: "54321", Group: "54321"}},
		"unknown user":                        {e: spec.Execution{User: "mr-x"}, want: "mr-x"},
		"ordinary agent, no user":             {euid: 1000},
		"ordinary agent cannot switch":        {e: spec.Execution{User: "nobody"}, euid: 1000, want: "only root can change"},
		"ordinary agent cannot become root":   {e: spec.Execution{User: "root"}, euid: 1000, want: "only root can change"},
		"ordinary agent, its own uid":         {e: spec.Execution{User: "54321", Group: "0"}, euid: 54321},
		"ordinary agent cannot switch groups": {e: spec.Execution{User: "54321", Group: "54321"}, euid: 54321, want: "only root can change"},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getegid() != 0 && c.euid == 54321 {
				t.Skip("the case assumes group 0")
			}
			_, err := identify(c.e, c.euid, c.allowRoot)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestRunsAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run as another user")
	}
	top := t.TempDir()
	for dir := top; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil { // as an operator has /var/lib
			t.Fatal(err)
		}
	}
	h := open(t, filepath.Join(top, "driver"), func(o *Options) { o.AllowRoot = false })
	i := testInstance("web-0")
	i.App.Process.Command = []string{"/bin/sh", "-c", "echo id $(id -u):$(id -g) home $HOME; echo x > made && cat restored && exec sleep 1000"}
	if _, err := h.Start(t.Context(), i); err == nil || !strings.Contains(err.Error(), "names no user") {
		t.Fatal(err)
	}
	i.App.User = "nobody"
	if _, err := h.Prepare(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	// What the agent put there before the start belongs to the app afterwards; what a link names does not.
	data := h.DataDir("web-0")
	outside := filepath.Join(top, "outside")
	for _, path := range []string{outside, filepath.Join(data, "restored")} {
		if err := os.WriteFile(path, []byte("restored by root\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(data, "soft")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(outside, filepath.Join(data, "hard")); err != nil {
		t.Fatal(err)
	}
	h.start(i)
	id, err := findUser("nobody", 0)
	if err != nil {
		t.Fatal(err)
	}
	line := h.awaitLines("web-0", "id ", 1)[0]
	if want := formatID(id) + " home " + id.home; line != want {
		t.Errorf("runs as %q, want %q", line, want)
	}
	h.awaitLines("web-0", "restored by root", 1)
	if info, err := os.Stat(outside); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("a file outside changed its owner", err)
	}
	if _, err := h.Stop(t.Context(), "web-0"); err != nil {
		t.Fatal(err)
	}
}
