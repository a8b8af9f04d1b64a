package cluster

import (
	"context"
	"fmt"
	"io"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/wal"
	"github.com/go-cluster/go-cluster/cluster/internal/attach"
)

// Attach gives the app data of a kind of their own. It is for packages of this module: sqlite.Open calls it.
func (a *Application) Attach(d attach.Data) {
	a.on(d.What, func() {
		switch {
		case a.data != nil:
			a.faults = append(a.faults, d.What+": it has "+a.data.What)
			return
		case a.log != nil:
			a.faults = append(a.faults, d.What+": it has a Log: its data are in one place")
		}
		a.data, a.spec.SQLite = &d, d.SQLite
	})
}

// replications makes what carries the data of this program's apps, one for each kind.
func (p *Platform) replications(cfg *agent.Config) error {
	p.mu.Lock()
	apps := p.apps
	p.mu.Unlock()
	made := map[string]bool{}
	logs := map[string]*Log{}
	for _, a := range apps {
		if a.log != nil {
			logs[a.name] = a.log
		}
		if a.data == nil || made[a.spec.Replication()] {
			continue
		}
		made[a.spec.Replication()] = true
		r, err := a.data.Replication(*cfg)
		if err != nil {
			return err
		}
		cfg.Replications = append(cfg.Replications, r)
	}
	if len(logs) > 0 {
		cfg.Replications = append(cfg.Replications, wal.NewReplication(func(ctx context.Context, app string) (*wal.Log, error) {
			l := logs[app]
			if l == nil {
				return nil, fmt.Errorf("this program has no log of %s", app)
			}
			return l.open(ctx)
		}))
	}
	return nil
}

// closeAll closes those that have something to close, after everything that used them.
func closeAll(replications []agent.Replication) {
	for _, r := range replications {
		if c, ok := r.(io.Closer); ok {
			_ = c.Close()
		}
	}
}
