package spec

import "testing"

func TestProcessHash(t *testing.T) {
	const base = `name: a, mode: singleton, process: {command: [x], env: {A: b, C: d}}, ports: {p: 0}, health: {tcp: "h:1"}`
	hash := func(more string) string { return decodeOne(t, "{"+base+more+"}").ProcessHash() }
	// The value is stored in events: when this line has to change, every running instance would be restarted by an upgrade.
	if got := hash(""); got != "8bca229e6c3c5839d17715c817b6108d" {
		t.Errorf("the hash of an unchanged spec is now %s", got)
	}
	for _, same := range []string{
		", require: [zone=a], prefer: [{node: n1}], labels: {a: b}", ", migration: {move_cost: 9}, resources: {cpu: 2}",
		", restart: {attempts: 1}, on_isolation: continue", ", secret_env: {}",
	} {
		if hash(same) != hash("") {
			t.Errorf("%s changes the hash", same)
		}
	}
	for _, other := range []string{", user: u", ", cwd: /c", ", secret_env: {A: /a}", ", env_file: /e"} {
		if hash(other) == hash("") {
			t.Errorf("%s does not change the hash", other)
		}
	}
	inside := decodeOne(t, "{name: a, process: {command: [x], user: u, stop_timeout: 30s, stop_signal: TERM, env: {}}}")
	outside := decodeOne(t, "{name: b, process: {command: [x]}, user: u}")
	if inside.ProcessHash() != outside.ProcessHash() {
		t.Error("the place of a key, a default or the app's name changes the hash")
	}
	if decodeOne(t, "{process: {command: [x, z]}}").ProcessHash() == decodeOne(t, "{process: {command: ['x z']}}").ProcessHash() {
		t.Error("two commands have one hash")
	}
	if decodeOne(t, "{ports: {a: 0}}").ProcessHash() == decodeOne(t, "{ports: {b: 0}}").ProcessHash() {
		t.Error("two sets of ports have one hash")
	}
}
