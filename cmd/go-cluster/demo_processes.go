//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// appProcess is a process that a node has started for an app, as the kernel shows it.
type appProcess struct {
	pid                   int
	instance, node, epoch string
}

// String names the process.
func (p appProcess) String() string {
	return fmt.Sprintf("%s on %s (pid %d)", p.instance, p.node, p.pid)
}

// appProcesses lists the app processes of the cluster on a NATS server, by what is in their environment: neither the control plane
// nor an agent is asked.
func appProcesses(natsURL string) ([]appProcess, error) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	var found []appProcess
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended, or is somebody else's
		}
		env := map[string]string{}
		for kv := range bytes.SplitSeq(b, []byte{0}) {
			if k, v, _ := strings.Cut(string(kv), "="); strings.HasPrefix(k, "GC_") {
				env[k] = v
			}
		}
		if env["GC_NATS_URL"] != natsURL || env["GC_INSTANCE"] == "" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			return nil, err
		}
		found = append(found, appProcess{pid: pid, instance: env["GC_INSTANCE"], node: env["GC_NODE"], epoch: env["GC_EPOCH"]})
	}
	slices.SortFunc(found, func(a, b appProcess) int { return strings.Compare(a.instance+a.node, b.instance+b.node) })
	return found, nil
}

// processesOf are those for which keep is true.
func (d *demo) processesOf(keep func(appProcess) bool) ([]appProcess, error) {
	all, err := appProcesses(d.cluster.at.servers)
	return slices.DeleteFunc(all, func(p appProcess) bool { return !keep(p) }), err
}

func (d *demo) processesOn(node string) ([]appProcess, error) {
	return d.processesOf(func(p appProcess) bool { return p.node == node })
}

func (d *demo) processesFor(app string) ([]appProcess, error) {
	return d.processesOf(func(p appProcess) bool { return strings.HasPrefix(p.instance, app+"-") })
}

func processesLine(all []appProcess) string {
	parts := make([]string, len(all))
	for i, p := range all {
		parts[i] = p.String()
	}
	return orNone(parts)
}
