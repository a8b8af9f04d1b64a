//go:build linux

package process

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

func TestEnvironmentAndItsSecrecy(t *testing.T) {
	t.Setenv("NATS_PASSWORD", "of the agent")
	t.Setenv("GO_CLUSTER_TOKEN", "of the agent")
	t.Setenv("GO_CLUSTER", "that of the agent")
	t.Setenv("INHERITED", "from the agent")
	t.Setenv("LAYER", "agent")
	outside := t.TempDir() // not the driver's
	write := func(name, content string) string {
		path := filepath.Join(outside, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret, token, password = "s3cret-\xff-value", "t0ken-in-env-file", "pa55word"
	seen := filepath.Join(outside, "seen")
	dir := t.TempDir()
	h := open(t, dir)
	i := testInstance("env-app-0", "environ", seen)
	i.NATSURL = "nats://me:" + password + "@127.0.0.1:4222,nats://me:" + password + "@127.0.0.2:4222"
	i.App.Ports = map[string]int{"http": 0, "a-b": 0}
	i.App.EnvFile = write("env", "# comment\n\nTOKEN="+token+"\nLAYER=file\nQUOTED=\"as it stands $GC_APP\"\r\n")
	i.App.SecretEnv = map[string]string{"SECRET": write("secret", secret+"\n"), "TWO_LINES": write("two", "a\n\n")}
	i.App.Process.Env = map[string]string{
		"LAYER": "env", "URL": "http://$GC_ADDRESS:${GC_PORT_HTTP}/$$x$HOME", "GC_ROLE": "liar", "NATS_URL": "its own",
	}
	st := h.start(i)
	h.awaitLines("env-app-0", "ready", 1)
	data, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, kv := range strings.Split(string(data), "\n") {
		key, value, _ := strings.Cut(kv, "=")
		got[key] = value
	}
	http := strconv.Itoa(st.Ports["http"])
	want := map[string]string{
		"INHERITED": "from the agent", "LAYER": "env", "TOKEN": token, "QUOTED": `"as it stands $GC_APP"`,
		"SECRET": secret, "TWO_LINES": "a\n", "URL": "http://127.0.0.1:" + http + "/$x$HOME", "NATS_URL": "its own",
		"GC_APP": "env-app", "GC_INSTANCE": "env-app-0", "GC_NODE": "node-1", "GC_ROLE": "member", "GC_EPOCH": "7",
		"GC_DATA_DIR": h.DataDir("env-app-0"), "GC_ADDRESS": "127.0.0.1", "GC_PORT_HTTP": http,
		"GC_PORT_A_B": strconv.Itoa(st.Ports["a-b"]), "GC_NATS_URL": i.NATSURL,
	}
	want["TWO_LINES"] = "a" // the empty line of it is the separator of our list
	maps.DeleteFunc(got, func(k, _ string) bool {
		_, ok := want[k]
		return !ok && k != "NATS_PASSWORD" && k != "GO_CLUSTER_TOKEN" && k != "GO_CLUSTER"
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	state, err := watchdog.ReadState(filepath.Join(h.instancesDir(), "env-app-0"))
	if err != nil {
		t.Fatal(err)
	}
	places := []string{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			places = append(places, path)
		}
		return err
	})
	if err != nil || len(places) < 4 {
		t.Fatal(places, err)
	}
	proc := filepath.Join("/proc", strconv.Itoa(state.Watchdog.PID))
	places = append(places, filepath.Join(proc, "environ"), filepath.Join(proc, "cmdline"))
	for _, path := range places {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"s3cret", token, password} {
			if strings.Contains(string(data), s) {
				t.Errorf("%s holds %q", path, s)
			}
		}
	}
}

func TestWorkingDirectory(t *testing.T) {
	h := open(t, t.TempDir())
	elsewhere := t.TempDir()
	for n, c := range []struct{ cwd, want string }{
		{"", h.DataDir("cwd-0")}, {elsewhere, elsewhere}, {"$GC_DATA_DIR/..", h.dataRoot()},
	} {
		i := testInstance("cwd-0", "wait")
		i.App.Process.Cwd = c.cwd // where the spec has it inside process
		st := h.start(i)
		if got, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(st.PID), "cwd")); err != nil || got != c.want {
			t.Errorf("%d: in %s, want %s, %v", n, got, c.want, err)
		}
		if err := h.Kill("cwd-0"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEnvFileErrorsNameTheLineAndQuoteNothing(t *testing.T) {
	for _, content := range []string{"A=1\nsecretwithoutkey\n", "A=1\n1secret=x\n", "A=1\nse cret=x"} {
		err := parseEnvFile("/etc/x.env", content, map[string]string{})
		if err == nil || !strings.Contains(err.Error(), "/etc/x.env:2:") || strings.Contains(err.Error(), "cret") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestDescriptorsOfTheAgentDoNotLeak(t *testing.T) {
	// A descriptor that the agent inherited itself is not marked to be closed at exec.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(); _ = w.Close() }()
	leaky := dupWithoutCloexec(t, w)
	target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(leaky))
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, t.TempDir())
	st := h.start(testInstance("web-0", "wait"))
	h.awaitLines("web-0", "ready", 1)
	state, err := watchdog.ReadState(filepath.Join(h.instancesDir(), "web-0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{st.PID, state.Watchdog.PID} {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) < 3 {
			t.Fatal(entries, err)
		}
		for _, e := range entries {
			if got, _ := os.Readlink(filepath.Join(dir, e.Name())); got == target {
				t.Errorf("process %d has descriptor %s: %s", pid, e.Name(), got)
			}
		}
	}
}

func TestWithoutPassword(t *testing.T) {
	for in, want := range map[string]string{
		"nats://h:4222":                      "nats://h:4222",
		"nats://u:p@h:4222":                  "nats://h:4222",
		"tls://token@h:4222, nats://u:p@i:1": "tls://h:4222,nats://i:1",
		"u:p@h:4222":                         "h:4222",
	} {
		if got := withoutPassword(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestVariablesAreTheOnesASpecMayUse(t *testing.T) {
	i := testInstance("web-0", "wait")
	ports := map[string]int{"http": 1, "a-b": 2}
	got := variables(i, ports, "/data")
	for _, name := range spec.KnownVariables(ports) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is accepted in a spec and never set", name)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("set and refused in a spec: %v", got)
	}
}
