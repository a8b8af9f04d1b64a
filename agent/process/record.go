//go:build linux

package process

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// record is what the driver must know of an instance after a restart of the agent. It is not waited for to reach the disk: after a crash
// of the machine nothing runs, and what is left of it says which ports the instance had (see ADR 0009).
type record struct {
	Instance  agent.Instance `json:"instance"` // with defaults; on disk without a password in its NATS URL
	Ports     map[string]int `json:"ports,omitempty"`
	Want      bool           `json:"want"`               // it should run: started, and neither stopped nor given up
	Restarts  []time.Time    `json:"restarts,omitempty"` // wall clock of the restarts that the policy still counts
	Restarted int            `json:"restarted,omitzero"` // restarts since the start
	Rest      agent.State    `json:"rest,omitzero"`      // the state while Want is false
	Detail    string         `json:"detail,omitzero"`    // the one that belongs to Rest
	ExitCode  *int           `json:"exit_code,omitzero"` // likewise
}

const recordFile = "record.json"

func readRecord(dir string) (record, error) {
	path := filepath.Join(dir, recordFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (in *instance) save() error {
	r := in.rec
	r.Instance.NATSURL = withoutPassword(r.Instance.NATSURL)
	data, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("instance %s: record: %w", in.id, err)
	}
	if err := os.MkdirAll(in.dir, 0o700); err != nil {
		return err
	}
	if err := watchdog.WriteFile(filepath.Join(in.dir, recordFile), append(data, '\n')); err != nil {
		return fmt.Errorf("instance %s: record: %w", in.id, err)
	}
	return nil
}

// settle notes that the instance is not wanted running, and in which state it rests. It does not fail: the end of a process is a
// fact, recorded or not. Without the record a later agent would find the process ended and resume its restart policy.
func (d *Driver) settle(in *instance, state agent.State, detail string, exitCode *int) agent.Status {
	st := d.change(in, func() {
		in.rec.Want = false
		in.rec.Rest, in.rec.Detail, in.rec.ExitCode = state, detail, exitCode
		in.rest(state, detail, exitCode)
	})
	if err := in.save(); err != nil {
		d.opts.Logger.Error("state of instance not recorded", zap.String("instance", in.id), zap.Error(err))
	}
	return st
}

// withoutPassword drops user and password from each URL of a comma-separated list.
func withoutPassword(urls string) string {
	if !strings.Contains(urls, "@") {
		return urls
	}
	list := strings.Split(urls, ",")
	for i, s := range list {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" {
			list[i] = s[strings.LastIndexByte(s, '@')+1:]
			continue
		}
		u.User = nil
		list[i] = u.String()
	}
	return strings.Join(list, ",")
}
