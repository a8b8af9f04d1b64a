package spec

import (
	"strings"
	"testing"

	json "github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

func TestUnits(t *testing.T) {
	tests := []struct{ in, want, err string }{
		{in: `{"cpu": 2}`, want: `{"cpu":"2"}`},
		{in: `{"cpu": 0.5}`, want: `{"cpu":"500m"}`},
		{in: `{"cpu": "1.25"}`, want: `{"cpu":"1250m"}`},
		{in: `{"cpu": "500m"}`, want: `{"cpu":"500m"}`},
		{in: `{"cpu": null}`, want: `{}`},
		{in: `{"memory": "4Gi"}`, want: `{"memory":"4Gi"}`},
		{in: `{"memory": 4294967296}`, want: `{"memory":"4Gi"}`},
		{in: `{"memory": "1.5Ki"}`, want: `{"memory":"1536"}`},
		{in: `{"memory": "2M"}`, want: `{"memory":"2000000"}`},
		{in: `{"memory": 9223372036854775807}`, want: `{"memory":"9223372036854775807"}`},
		{in: `{"memory": 9223372036854775808}`, err: `memory "9223372036854775808": want`},
		{in: `{"memory": "8388608Ti"}`, err: `memory "8388608Ti": want`},
		{in: `{"memory": -1}`, err: `memory "-1": want`},
		{in: `{"memory": "4gb"}`, err: `memory "4gb": want a number of bytes, or one with a suffix such as 512Mi or 4Gi`},
		{in: `{"memory": "1.5"}`, err: `memory "1.5": want`},
		{in: `{"cpu": -1}`, err: `cpu "-1": want`},
		{in: `{"cpu": "0.0001"}`, err: `cpu "0.0001": want a number of cores such as 2 or 0.5, or of millicores such as 500m`},
		{in: `{"cpu": 1e300}`, err: `cpu "1e300": want`},
		{in: `{"cpu": ""}`, err: `cpu "": want`},
		{in: `{"cpu": true}`, err: `cpu "true": want`},
	}
	for _, tt := range tests {
		var r Resources
		err := json.Unmarshal([]byte(tt.in), &r)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: got error %v, want %s", tt.in, err, tt.err)
			}
			continue
		}
		got, errOut := json.Marshal(r)
		if err != nil || errOut != nil || string(got) != tt.want {
			t.Errorf("%s: got %s (%v, %v), want %s", tt.in, got, err, errOut, tt.want)
		}
	}
}

func TestUnitsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Resources{
			CPU:    CPU(rapid.Int64Min(0).Draw(t, "cpu")),
			Memory: Bytes(rapid.Int64Min(0).Draw(t, "memory")),
		}
		if rapid.Bool().Draw(t, "round") {
			in.Memory &^= 1<<30 - 1
		}
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out Resources
		if err := json.Unmarshal(b, &out); err != nil || out != in {
			t.Fatalf("%s: %v, got %v, want %v", b, err, out, in)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"30s", "5m", "1h30m", "0", "30", "-1s", "1.5h", "9999999h", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d, again Duration
		if err := d.UnmarshalText([]byte(s)); err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q became %s", s, d)
		}
		text, _ := d.MarshalText()
		if err := again.UnmarshalText(text); err != nil || again != d {
			t.Fatalf("%q became %s and then %s: %v", s, d, again, err)
		}
	})
}

// What would silently become its default is refused, and a duration that no clock can hold is said to be too long.
func TestValuesThatCannotBeMeant(t *testing.T) {
	for text, want := range map[string]string{
		"{name: a, mode: singleton, migration: {step_timeout: 0s}}":    `migration.step_timeout: "0s": want more than 0, or no such key: then it is the default`,
		"{name: a, mode: singleton, health: {http: x, interval: 0ms}}": `health.interval: "0ms": want more than 0, or no such key: then it is the default`,
		"{name: a, mode: singleton, prefer: [{node: n1, weight: 0}], migration: {move_cost: 0}}": `migration.move_cost: 0: want another number than 0, or no such key: then it is the default; ` +
			`prefer[0].weight: 0: want another number than 0, or no such key: then it is the default`,
		`{"name": "a", "mode": "singleton", "replicas": ` + strings.Repeat("1", 1000) + "}":                   "replicas: " + strings.Repeat("1", 80) + "…: want a whole number",
		"{name: a, mode: singleton, migration: {drain_timeout: 99999999h}}":                                   `migration.drain_timeout: duration "99999999h": too long: want at most 2562047h0m0s`,
		"{name: a, mode: singleton, migration: {drain_timeout: 5}}":                                           `migration.drain_timeout: duration "5": want a number with a unit such as 30s, 5m or 1h30m`,
		"{name: a, mode: singleton, process: {command: [x]}, migration: {min_healthy_time: 0s}, restart: {}}": "",
	} {
		_, err := DecodeApps([]byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestPolicyValuesThatCannotBeMeant(t *testing.T) {
	for text, want := range map[string]string{
		"migration: {max_concurrent: 0}":                                          "migration.max_concurrent: 0: want another number than 0, or no such key: then it is the default",
		"migration: {approval_expiry: 0s}":                                        `migration.approval_expiry: "0s": want more than 0, or no such key: then it is the default`,
		"{migration: {cooldown_period: 0s}, auto_rebalance: {max_concurrent: 0}}": "", // 0 is off
	} {
		got := ""
		if _, err := DecodePolicy([]byte(text)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
