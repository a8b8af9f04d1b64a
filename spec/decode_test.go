package spec

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	json "github.com/go-json-experiment/json"
)

func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		return []string{err.Error()}
	}
	var out []string
	for _, f := range invalid.Faults {
		out = append(out, f.String())
	}
	return out
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1, ", i)
	}
	return b.String()
}

// The file uses every part at once, as a reference shows them, hence replicas beside mode singleton.
func TestEveryPart(t *testing.T) {
	data, err := os.ReadFile("testdata/every_part.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apps, err := DecodeApps(data)
	if err != nil {
		t.Fatal(err)
	}
	a := apps[0]
	want := []string{"replicas: only mode replicas has it, and the mode is singleton"}
	if diff := cmp.Diff(want, faultsOf(t, a.Validate())); diff != "" {
		t.Error(diff)
	}
	a.Replicas = nil
	if err := a.ValidateApplied(); err != nil {
		t.Error(err)
	}
	var unsupported []string
	for _, f := range a.Unsupported() {
		unsupported = append(unsupported, f.String())
	}
	want = []string{
		"pool: not supported by this version",
	}
	if diff := cmp.Diff(want, unsupported); diff != "" {
		t.Error(diff)
	}
	if a.Resources != (Resources{CPU: 2000, Memory: 4 << 30}) || a.Process.Env["A"] != "b" || a.Prefer[1].Node != "node-1" {
		t.Errorf("decoded %+v", a)
	}
	b, err := json.Marshal(a.WithDefaults(), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeApps(b)
	if err != nil || !cmp.Equal(again[0], a.WithDefaults()) {
		t.Errorf("JSON round trip: %v\n%s", err, cmp.Diff(a.WithDefaults(), again[0]))
	}
}

func TestDecodeAppsFaults(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
	}{
		{"unknown keys", "name: a\nmod: ring\nprocess: {comand: [x], ports: {}, wibble: 1}\nstop_timeout: 3s\nprefer: [{lable: a}]", []string{
			"mod: unknown key (did you mean mode?)",
			"prefer[0].lable: unknown key (did you mean label?)",
			"process.comand: unknown key (did you mean command?)",
			"process.ports: unknown key (did you mean ports at the top level?)",
			"process.wibble: unknown key (known here: command, cwd, env, env_file, group, secret_env, stop_signal, stop_timeout, user)",
			"stop_timeout: unknown key (did you mean process.stop_timeout?)",
		}},
		{"case counts", "Name: a", []string{"Name: unknown key (did you mean name?)"}},
		{"env values", "process: {env: {A: 1, B: no, C: [x], D: , E: ok}, command: [a, 1]}", []string{
			"process.command[1]: 1: want a string: quote it",
			"process.env.A: 1: want a string: quote it",
			"process.env.B: false: want a string; YAML reads an unquoted y, n, yes, no, on and off as true or false: quote it",
			"process.env.C: a list: want a string",
			"process.env.D: has no value",
		}},
		{"wrong types", "process: x\nports: {a: b, c: 1.5}\nrequire: a\nmigration: {step_timeout: 30}\nreplicas: true\nresources: {cpu: -1, memory: 4gb}", []string{
			`migration.step_timeout: duration "30": want a number with a unit such as 30s, 5m or 1h30m`,
			`ports.a: "b": want a whole number`,
			`ports.c: 1.5: want a whole number`,
			`process: "x": want a mapping of keys to values`,
			`replicas: true: want a whole number`,
			`require: "a": want a list`,
			`resources.cpu: cpu "-1": want a number of cores such as 2 or 0.5, or of millicores such as 500m`,
			`resources.memory: memory "4gb": want a number of bytes, or one with a suffix such as 512Mi or 4Gi`,
		}},
		{"duplicate in YAML", "name: a\nprocess:\n  env:\n    A: x\n    A: y", []string{`line 5: key "A" given twice`}},
		{"duplicate in JSON", `{"process":{"env":{"A":"x","A":"y"}}}`, []string{"process.env.A: given twice"}},
		{"key of another type", "name: a\nlabels: {on: x, 5: y}", []string{
			"labels: key 5: want a string: quote it", "labels: key true: want a string: quote it"}},
		{"infinite", "replicas: .inf", []string{"replicas: +Inf: want a finite number"}},
		{"binary", "name: !!binary gIGC", []string{"name: binary data: want text"}},
		{"not a mapping", "[a]", []string{"a list: want a mapping of keys to values"}},
		{"deep YAML", strings.Repeat("[", 20) + "x" + strings.Repeat("]", 20), []string{
			strings.Repeat("[0]", 16) + ": nested deeper than 16 levels"}},
		{"deep JSON", `{"a":` + strings.Repeat("[", 20) + "0" + strings.Repeat("]", 20) + `}`, []string{
			"a" + strings.Repeat("[0]", 15) + ": nested deeper than 16 levels"}},
		{"not UTF-8", "name: \xff", []string{"byte 7 is not UTF-8 text"}},
		{"syntax", "name: a\n  b: [", []string{"line 2: mapping values are not allowed in this context"}},
		{"empty", "# nothing\n---\n", []string{"no app: the file is empty"}},
		{"aliases", "a: &a " + strings.Repeat("x", 9000) + "\nb: [" + strings.Repeat("*a,", 100) + "]", []string{
			"the aliases of the file expand it beyond 262144 bytes"}},
		{"too large", strings.Repeat("#", MaxSpecBytes+1), []string{"the file has more than 65536 bytes"}},
	}
	for _, tt := range tests {
		_, err := DecodeApps([]byte(tt.in))
		if diff := cmp.Diff(tt.want, faultsOf(t, err)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestDecodeAppsManyFaults(t *testing.T) {
	_, err := DecodeApps([]byte("labels: {" + numbered(200) + "}"))
	if got := faultsOf(t, err); len(got) != manyFaults {
		t.Errorf("%d faults, want the walk to end at %d", len(got), manyFaults)
	}
}

func TestDecodeAppsDocuments(t *testing.T) {
	apps, err := DecodeApps([]byte("\ufeff# two apps\n---\nname: a\nprocess: {env: {K: \"---\"}}\nhealth:\n---\n---\n{\"name\": \"b\"}\n...\n"))
	if err != nil || len(apps) != 2 || apps[0].Name != "a" || apps[0].Process.Env["K"] != "---" || apps[1].Name != "b" {
		t.Errorf("%v, %+v", err, apps)
	}
	if apps, err = DecodeApps([]byte("{\n\t\"name\":\t\"a\"\n}\n")); err != nil || apps[0].Name != "a" {
		t.Errorf("JSON with tabs: %v", err)
	}
	_, err = DecodeApps([]byte("name: a\n---\nname: a\n---\nnam: c\n"))
	const want = "document 2: name: \"a\": already in document 1\ndocument 3: nam: unknown key (did you mean name?)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestDecodePolicy(t *testing.T) {
	p, err := DecodePolicy([]byte(`
migration:
  cooldown_period: 5m
  rate_limit: {count: 10, window: 1h}
  maintenance_windows: [{start: 02:00, end: 06:00, timezone: Europe/Berlin, days: [sat, sun]}]
  load_threshold: 0.8
auto_rebalance: {enabled: true, interval: 5m, threshold: 0.2}
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if w := p.Migration.MaintenanceWindows[0]; w.Start != "02:00" || p.Migration.LoadThreshold != 0.8 {
		t.Errorf("decoded %+v", p)
	}
	for in, want := range map[string]string{
		"migration: {cooldown: 5m}":       "migration.cooldown: unknown key (known here: approval_expiry, cooldown_period, load_threshold, maintenance_windows, max_concurrent, rate_limit, require_approval)",
		"auto_rebalance: {enabled: yess}": `auto_rebalance.enabled: "yess": want true or false`,
		"a: 1\n---\nb: 1":                 "2 documents: want one policy",
		"":                                "no policy: the file is empty; write {} to switch every rule off",
	} {
		if _, err := DecodePolicy([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
	if p, err := DecodePolicy([]byte("{}")); err != nil || p.WithDefaults().Migration.MaxConcurrent != 4 {
		t.Errorf("%v, %+v", err, p)
	}
}

func FuzzDecodeApps(f *testing.F) {
	if data, err := os.ReadFile("testdata/every_part.yaml"); err == nil {
		f.Add(data)
	}
	for _, s := range []string{`{"name":"a"}`, "name: a\n---\nname: b", "a: &a [*a]", "a: &x {b: 1}\nc: {<<: *x}", "env: {A: 1}",
		"name: !!binary gIGC", "? [a]\n: b", "name: a\nmode: replicas\nreplicas: 2\nprocess: {command: [x, $GC_PORT_A], user: u}\nports: {a: 0}\nuser: v"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		apps, err := DecodeApps(data)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a text")
			}
			return
		}
		for _, a := range apps {
			full := a.WithDefaults()
			if again := full.WithDefaults(); !cmp.Equal(full, again) {
				t.Fatalf("defaults are not idempotent: %s", cmp.Diff(full, again))
			}
			if a.ProcessHash() != full.ProcessHash() {
				t.Fatal("defaults change the hash")
			}
			if a.Validate() != nil {
				continue
			}
			if err := full.Validate(); err != nil {
				t.Fatalf("valid, but not with defaults: %v", err)
			}
			b, err := json.Marshal(full)
			if err != nil {
				t.Fatal(err)
			}
			var back App
			if err := json.Unmarshal(b, &back, json.RejectUnknownMembers(true)); err != nil {
				t.Fatal(err)
			}
			if back.ProcessHash() != full.ProcessHash() {
				t.Fatalf("the hash does not survive JSON: %s", b)
			}
		}
	})
}

// Whatever a policy file says, it is read and can be judged, or is refused.
func FuzzDecodePolicy(f *testing.F) {
	for _, s := range []string{"migration: {max_concurrent: 2, cooldown_period: 5m}", "auto_rebalance: {enabled: true, threshold: 0.2, exclude_apps: [a]}",
		`{"migration": {"maintenance_windows": [{"start": "02:00", "end": "06:00", "timezone": "Europe/Rome", "days": ["mon"]}], "rate_limit": {"count": 1, "window": "1h"}}}`, "", "a: &a [*a]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodePolicy(data)
		if err != nil {
			return
		}
		_ = p.Validate()
		_ = p.WithDefaults()
	})
}
