package spec

import (
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

var stopSignals = []string{"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"}

func (a App) checkProcess(f *faults) {
	a.Execution.check(f, "")
	if a.Process == nil {
		for _, key := range a.Execution.keys() {
			f.addf(key, "only an app with a process has it")
		}
		return
	}
	p := *a.Process
	p.Execution.check(f, "process.")
	for _, key := range p.Execution.keys() {
		if slices.Contains(a.Execution.keys(), key) {
			f.addf("process."+key, "also given at the top level: keep one of the two")
		}
	}
	checkCommand(f, "process.command", p.Command)
	checkChoice(f, "process.stop_signal", p.StopSignal, stopSignals...)
	checkDuration(f, "process.stop_timeout", p.StopTimeout, 0, longestWait)
	secret := a.Execution.orElse(p.Execution).SecretEnv
	for _, k := range slices.Sorted(maps.Keys(p.Env)) {
		field := member("process.env", k)
		checkEnvKey(f, field, k)
		if strings.ContainsRune(p.Env[k], 0) {
			f.addf(field, "contains a NUL character")
		}
		if _, found := secret[k]; found {
			f.addf(field, "also in secret_env: keep one of the two")
		}
	}
}

func checkCommand(f *faults, field string, argv []string) {
	if len(argv) == 0 {
		f.addf(field, "missing: want the program and its arguments as a list")
		return
	}
	if argv[0] == "" {
		f.addf(field+"[0]", "the program's name is empty")
	}
	for i, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			f.addf(at(field, i), "contains a NUL character")
		}
	}
}

// keys lists the keys that are given, by their names in a file.
func (e Execution) keys() []string {
	var keys []string
	for _, k := range []struct {
		name  string
		given bool
	}{
		{"cwd", e.Cwd != ""},
		{"env_file", e.EnvFile != ""},
		{"group", e.Group != ""},
		{"secret_env", len(e.SecretEnv) > 0},
		{"user", e.User != ""},
	} {
		if k.given {
			keys = append(keys, k.name)
		}
	}
	return keys
}

func (e Execution) check(f *faults, prefix string) {
	checkPath(f, prefix+"cwd", e.Cwd)
	checkPath(f, prefix+"env_file", e.EnvFile)
	checkAccount(f, prefix+"user", e.User)
	checkAccount(f, prefix+"group", e.Group)
	for _, k := range slices.Sorted(maps.Keys(e.SecretEnv)) {
		field := member(prefix+"secret_env", k)
		checkEnvKey(f, field, k)
		if e.SecretEnv[k] == "" {
			f.addf(field, "want the absolute path of the file that holds the value")
		}
		checkPath(f, field, e.SecretEnv[k])
	}
}

// checkPath refuses relative paths: the agent's own directory is nothing that a spec may depend on.
func checkPath(f *faults, field, p string) {
	switch {
	case p == "" || path.IsAbs(p) && !strings.ContainsRune(p, 0):
	case len(Variables(p)) > 0:
		f.addf(field, "%s: want an absolute path; variables are not expanded here", quoteShort(p))
	default:
		f.addf(field, "%s: want an absolute path", quoteShort(p))
	}
}

func checkAccount(f *faults, field, name string) {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' || r == '/' || r == ',' }
	if len(name) > 256 || strings.ContainsFunc(name, bad) || strings.HasPrefix(name, "-") {
		f.addf(field, "%s: want the name or number of an account of the node", quoteShort(name))
	}
}

func checkEnvKey(f *faults, field, k string) {
	ok := k != "" && !isDigit(k[0])
	for i := range len(k) {
		ok = ok && (isAlnum(k[i]) || k[i] == '_')
	}
	if !ok {
		f.addf(field, `want a name of letters, digits and "_", not starting with a digit`)
	} else if strings.HasPrefix(k, "GC_") {
		f.addf(field, "names that start with GC_ are set by the agent")
	}
}

func (a App) checkPorts(f *faults) {
	variables := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(a.Ports)) {
		field := member("ports", name)
		if !isPortName(name) {
			f.addf(field, `want a name of 1 to 31 characters a-z, 0-9, "-" and "_", starting with a letter`)
		} else if other, taken := variables[PortVariable(name)]; taken {
			f.addf(field, "gives the same variable $%s as port %s", PortVariable(name), other)
		}
		variables[PortVariable(name)] = name
		checkRange(f, field, a.Ports[name], 0, 65535)
	}
}

func isPortName(s string) bool {
	if s == "" || len(s) > 31 || !isLower(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func (a App) checkHealth(f *faults) {
	h := a.Health
	if h == nil {
		return
	}
	kinds := 0
	for _, given := range []bool{h.HTTP != "", h.TCP != "", len(h.Exec) > 0} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		f.addf("health", "has %d of http, tcp and exec: want exactly one", kinds)
	}
	if h.HTTP != "" {
		u, err := url.Parse(a.sample(h.HTTP))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			f.addf("health.http", "%s: want a URL such as http://127.0.0.1:$GC_PORT_HTTP/health", quoteShort(h.HTTP))
		}
	}
	if h.TCP != "" {
		if _, port, err := net.SplitHostPort(a.sample(h.TCP)); err != nil || port == "" {
			f.addf("health.tcp", "%s: want host:port", quoteShort(h.TCP))
		}
	}
	if len(h.Exec) > 0 {
		checkCommand(f, "health.exec", h.Exec)
	}
	// Checks more often than this cost more than they tell, and slower ones would hold a move for hours.
	checkDuration(f, "health.interval", h.Interval, 10*time.Millisecond, time.Hour)
	checkDuration(f, "health.timeout", h.Timeout, time.Millisecond, time.Minute)
	checkRange(f, "health.healthy_after", h.HealthyAfter, 0, maxCount)
	checkRange(f, "health.fail_after", h.FailAfter, 0, maxCount)
}

// sample expands s with made-up values, so that the shape of the result can be checked. What cannot be expanded stays: that is
// reported by checkVariables.
func (a App) sample(s string) string {
	vars := map[string]string{}
	for _, name := range KnownVariables(a.Ports) {
		vars[name] = "1"
	}
	vars["GC_ADDRESS"] = "192.0.2.1"
	if out, err := Expand(s, vars); err == nil {
		return out
	}
	return s
}
