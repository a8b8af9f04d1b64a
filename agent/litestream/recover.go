//go:build linux

package litestream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// Recover implements agent.Replication.
func (r *Replication) Recover(ctx context.Context, d agent.Data, terms []agent.Term) (agent.Recovered, error) {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return agent.Recovered{}, err
	}
	complete := true // nobody after the term that is looked at may have written anything
	for _, t := range terms {
		h, err := r.history(ctx, t.Epoch)
		if err != nil {
			return agent.Recovered{}, err
		}
		if t.Here {
			got, err := r.own(ctx, d, h)
			if err != nil {
				r.log.Warn("local copy not used", zap.String("instance", d.Instance), zap.Uint64("epoch", t.Epoch), zap.Error(err))
			} else if got.Position.Epoch == t.Epoch {
				got.Complete = complete
				return got, nil
			}
		}
		got, err := r.shipped(ctx, d, h)
		if err != nil {
			return agent.Recovered{}, fmt.Errorf("epoch %d: %w", t.Epoch, err)
		}
		if got.Position.Epoch == t.Epoch {
			if got.Complete = complete && (!t.Activated || t.Final == got.Position); got.Complete {
				got.Shipped = time.Time{}
			}
			return got, nil
		}
		if t.Activated && t.Final != (events.Position{Epoch: t.Epoch}) { // one that ended at nothing left nothing
			complete = false
		}
	}
	return agent.Recovered{Complete: complete}, r.aside(d)
}

// own makes a database ready that this node led to the end of what was written under the epoch; the zero Recovered where there is none.
func (r *Replication) own(ctx context.Context, d agent.Data, h history) (agent.Recovered, error) {
	m, err := readMark(d)
	if err != nil || !m.Led || !m.of(h) {
		return agent.Recovered{}, err
	}
	r.head.close(d.Path)
	if _, err := os.Lstat(d.Path); err != nil {
		return agent.Recovered{}, err
	}
	if err := sound(ctx, d.Path); err != nil {
		return agent.Recovered{}, err
	}
	sum, err := checksum(d.Path)
	if err != nil {
		return agent.Recovered{}, err
	}
	seq := m.Seq
	if !m.Ended {
		if seq, err = kept(d); err != nil {
			return agent.Recovered{}, err
		}
	}
	return agent.Recovered{Position: events.Position{Epoch: h.epoch, Seq: seq}, Checksum: sum}, entrust(d.Path)
}

// shipped makes the database what the store has of an epoch; the zero Recovered where that is nothing.
func (r *Replication) shipped(ctx context.Context, d agent.Data, h history) (agent.Recovered, error) {
	s, err := r.openStore(ctx, d.App.Name)
	if err != nil {
		return agent.Recovered{}, err
	}
	files, err := s.list(ctx, h)
	if err != nil {
		return agent.Recovered{}, err
	}
	newest, ok := newIndex(files).newest()
	if !ok {
		return agent.Recovered{}, nil
	}
	if err := r.aside(d); err != nil {
		return agent.Recovered{}, err
	}
	f, err := r.follow(ctx, d, h)
	if err != nil {
		return agent.Recovered{}, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.CatchUp(ctx, events.Position{Epoch: h.epoch, Seq: newest.last}); err != nil {
		return agent.Recovered{}, err
	}
	at, sum, err := f.finish(ctx)
	if err != nil {
		return agent.Recovered{}, err
	}
	if err := sound(ctx, d.Path); err != nil {
		return agent.Recovered{}, err
	}
	return agent.Recovered{Position: at, Checksum: sum, Shipped: newest.stored}, entrust(d.Path)
}

// aside puts a database out of the way that is not known to be a copy of anything: it may be the last one of somebody's data.
func (r *Replication) aside(d agent.Data) error {
	m, err := readMark(d)
	if err != nil || m.Epoch > 0 && !m.Led {
		return err
	}
	r.head.close(d.Path)
	if _, err := os.Lstat(d.Path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	to := fmt.Sprintf("%s.aside-e%d", d.Path, m.Epoch)
	for _, tail := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(d.Path+tail, to+tail); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	r.log.Warn("database set aside: another one is newer", zap.String("instance", d.Instance), zap.String("to", to))
	return syncDir(filepath.Dir(d.Path))
}
