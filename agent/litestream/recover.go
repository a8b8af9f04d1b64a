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

// givenTail is what the name of a database ends with that somebody puts beside an app's own to have it go on with that.
const givenTail = ".restore"

// Recover implements agent.Replication.
func (r *Replication) Recover(ctx context.Context, d agent.Data, terms []agent.Term) (agent.Recovered, error) {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return agent.Recovered{}, err
	}
	if sum, err := r.given(ctx, d); err != nil || sum != "" {
		return agent.Recovered{Checksum: sum}, err
	}
	complete := true // nobody after the term that is looked at may have written anything
	sure := true     // and what was looked at in the store was all of it
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
				got.Complete, got.Unsure = complete, !sure && !complete
				return got, nil
			}
		}
		got, err := r.shipped(ctx, d, h)
		if err != nil {
			return agent.Recovered{}, fmt.Errorf("epoch %d: %w", t.Epoch, err)
		}
		sure = sure && !got.Unsure
		if got.Position.Epoch == t.Epoch {
			got.Complete, got.Unsure = complete && (!t.Activated || t.Final == got.Position), !sure
			if got.Complete {
				got.Shipped, got.Unsure = time.Time{}, false
			}
			return got, nil
		}
		if t.Activated && t.Final != (events.Position{Epoch: t.Epoch}) { // one that ended at nothing left nothing
			complete = false
		}
	}
	if len(terms) > 0 {
		if got, err := r.older(ctx, d, terms[len(terms)-1].Epoch); err != nil || got.Position.Epoch > 0 {
			return got, err
		}
	}
	return agent.Recovered{Complete: complete, Unsure: !sure && !complete}, r.aside(ctx, d)
}

// older recovers the newest epoch before one that anything exists of: the log tells of so many epochs only, and under all of those nothing may
// have been written. What has been written since the one that is found nobody can say.
func (r *Replication) older(ctx context.Context, d agent.Data, than uint64) (agent.Recovered, error) {
	h, err := r.history(ctx, than)
	if err != nil {
		return agent.Recovered{}, err
	}
	s, err := r.openStore(ctx, d.App.Name)
	if err != nil {
		return agent.Recovered{}, err
	}
	if _, err := s.vouched(ctx); err != nil { // what was acknowledged since the log told of it nobody can say in any case
		return agent.Recovered{}, err
	}
	files, err := s.before(ctx, h)
	if err != nil {
		return agent.Recovered{}, err
	}
	h.epoch = 0
	if len(files) > 0 {
		h, _ = historyOf(files[len(files)-1].name)
	}
	if m, err := readMark(d); err == nil && m.Led && m.Incarnation == h.incarnation && m.Epoch < than && m.Epoch >= h.epoch {
		got, err := r.own(ctx, d, history{h.incarnation, m.Epoch})
		if err == nil && got.Position.Epoch > 0 {
			return got, nil
		}
		r.log.Warn("local copy not used", zap.String("instance", d.Instance), zap.Uint64("epoch", m.Epoch), zap.Error(err))
	}
	if h.epoch == 0 {
		return agent.Recovered{}, nil
	}
	got, err := r.shipped(ctx, d, h)
	if err != nil {
		return agent.Recovered{}, fmt.Errorf("epoch %d: %w", h.epoch, err)
	}
	return got, nil
}

// given makes the database the one that somebody has put beside it to go on with, whatever else is known, and returns its checksum; "" where nobody
// has. What was there is set aside. Done again before anybody leads, it says the same.
func (r *Replication) given(ctx context.Context, d agent.Data) (sum string, err error) {
	m, err := readMark(d)
	if err != nil {
		return "", err
	}
	path := d.Path + givenTail
	switch _, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist) && m.Given:
		return checksum(d.Path)
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	}
	if err := sound(ctx, path); err != nil {
		return "", err
	}
	if sum, err = checksum(path); err != nil {
		return "", err
	}
	if err := r.aside(ctx, d); err != nil {
		return "", err
	}
	r.head.close(d.Path)
	if err := erase(d.Path); err != nil { // a copy of what others have
		return "", err
	}
	if err := writeMark(d, mark{Given: true}); err != nil {
		return "", err
	}
	if err := os.Rename(path, d.Path); err != nil {
		return "", err
	}
	r.log.Warn("the app goes on with a database that somebody has put here", zap.String("instance", d.Instance), zap.String("path", path))
	return sum, errors.Join(entrust(d.Path), syncDir(filepath.Dir(d.Path)))
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

// shipped makes the database what the store has of an epoch; nothing is recovered where that is nothing.
func (r *Replication) shipped(ctx context.Context, d agent.Data, h history) (agent.Recovered, error) {
	s, err := r.openStore(ctx, d.App.Name)
	if err != nil {
		return agent.Recovered{}, err
	}
	sure, err := s.vouched(ctx)
	if err != nil {
		return agent.Recovered{}, err
	}
	files, err := s.list(ctx, h)
	if err != nil {
		return agent.Recovered{}, err
	}
	newest, ok := newIndex(files).newest()
	if !ok {
		return agent.Recovered{Unsure: !sure}, nil
	}
	if err := r.aside(ctx, d); err != nil {
		return agent.Recovered{}, err
	}
	f, err := r.follow(ctx, d, h)
	if err != nil {
		return agent.Recovered{}, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.reach(ctx, events.Position{Epoch: h.epoch, Seq: newest.last}); err != nil {
		return agent.Recovered{}, err
	}
	at, sum, err := f.finish(ctx)
	if err == nil {
		err = writeMark(d, mark{Incarnation: h.incarnation, Epoch: h.epoch, Seq: at.Seq})
	}
	if err != nil {
		return agent.Recovered{}, err
	}
	if err := sound(ctx, d.Path); err != nil {
		return agent.Recovered{}, err
	}
	return agent.Recovered{Position: at, Checksum: sum, Shipped: newest.stored, Unsure: !sure}, entrust(d.Path)
}
