//go:build linux

package process

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/spec"
)

// variables returns the GC_ variables of an instance.
func variables(i agent.Instance, ports map[string]int, dataDir string) map[string]string {
	vars := map[string]string{
		"GC_APP":      i.App.Name,
		"GC_INSTANCE": i.ID,
		"GC_NODE":     i.Node,
		"GC_ROLE":     i.Role,
		"GC_EPOCH":    strconv.FormatUint(i.Epoch, 10),
		"GC_DATA_DIR": dataDir,
		"GC_ADDRESS":  i.Address,
		"GC_NATS_URL": i.NATSURL,
	}
	for name, port := range ports {
		vars[spec.PortVariable(name)] = strconv.Itoa(port)
	}
	return vars
}

// environment puts the app's environment together, sorted. It reads the files of e. No error quotes a value.
func environment(own []string, user map[string]string, a spec.App, vars map[string]string) ([]string, error) {
	env := map[string]string{}
	for _, kv := range own {
		key, value, ok := strings.Cut(kv, "=")
		if ok && !agentsOwn(key) {
			env[key] = value
		}
	}
	maps.Copy(env, user)
	if a.EnvFile != "" {
		data, err := os.ReadFile(a.EnvFile)
		if err != nil {
			return nil, fmt.Errorf("env_file: %w", err)
		}
		if err := parseEnvFile(a.EnvFile, string(data), env); err != nil {
			return nil, fmt.Errorf("env_file: %w", err)
		}
	}
	for key, value := range a.Process.Env {
		expanded, err := spec.Expand(value, vars)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", key, err)
		}
		env[key] = expanded
	}
	for key, path := range a.SecretEnv {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("secret_env %s: %w", key, err)
		}
		data = bytes.TrimSuffix(data, []byte("\n"))
		env[key] = string(bytes.TrimSuffix(data, []byte("\r")))
	}
	maps.Copy(env, vars)
	list := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		if key == "" || strings.ContainsAny(key, "=\x00") {
			return nil, fmt.Errorf("env: %q is not a name", key)
		}
		if strings.ContainsRune(env[key], 0) {
			return nil, fmt.Errorf("env %s: the value holds a zero byte", key)
		}
		list = append(list, key+"="+env[key])
	}
	return list, nil
}

// agentsOwn says whether a variable configures the agent itself: an app that runs a client inherits neither its server nor its
// credentials.
func agentsOwn(key string) bool {
	return strings.HasPrefix(key, "NATS_") || key == "GO_CLUSTER" || strings.HasPrefix(key, "GO_CLUSTER_")
}

// parseEnvFile reads KEY=VALUE lines into env. Values are taken as they stand, quotes and $ included; empty lines and lines that
// begin with # do not count.
func parseEnvFile(name, content string, env map[string]string) error {
	for n, line := range strings.Split(content, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); !ok || !isVariable(key) {
			return fmt.Errorf("%s:%d: want KEY=VALUE", name, n+1)
		}
		env[key] = value
	}
	return nil
}

func isVariable(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
