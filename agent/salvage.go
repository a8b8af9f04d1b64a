package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// lostData is what this node has set aside and the log does not tell of yet, on stable storage. It is safe for concurrent use.
type lostData struct {
	path string

	mu  sync.Mutex
	all map[string]api.LostData // by instance and epoch
}

func openLost(dir string) (*lostData, error) {
	l := &lostData{path: filepath.Join(dir, "lost.json"), all: map[string]api.LostData{}}
	if err := loadJSON(l.path, &l.all); err != nil {
		return nil, fmt.Errorf("data set aside: %w", err)
	}
	return l, nil
}

func lostKey(d events.DataLost) string { return fmt.Sprintf("%s/%d", d.Instance, d.Epoch) }

// Add returns once it is on stable storage.
func (l *lostData) Add(d api.LostData) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[lostKey(d.Data)] = d
	return saveJSON(l.path, l.all)
}

// Told drops what the log tells of.
func (l *lostData) Told(told []events.DataLost) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.all)
	for _, d := range told {
		delete(l.all, lostKey(d))
	}
	if len(l.all) == n {
		return nil
	}
	return saveJSON(l.path, l.all)
}

// All returns them in order.
func (l *lostData) All() []api.LostData {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.all), func(a, b api.LostData) int { return cmp.Compare(lostKey(a.Data), lostKey(b.Data)) })
}

// termsHere are the epochs of an app as the log tells them, newest first.
func (a *agent) termsHere(of []projections.Term) []Term {
	terms := make([]Term, 0, len(of))
	for _, t := range of {
		terms = append(terms, Term{Epoch: t.Epoch, Here: machineOf(t.Inc) == a.me.Machine, From: t.From, FromSum: t.FromSum, Final: t.Final, Activated: t.Activated})
	}
	return terms
}

// salvage sets aside what an instance left here that its successor did not begin with, before anything else is done with the data, and
// tells of it with the next lease. Nothing of the instance runs.
func (a *agent) salvage(ctx context.Context, app spec.App, instance string, of []projections.Term) error {
	if !app.Replicated() || len(of) == 0 {
		return nil
	}
	kind, data, err := a.data.dataOf(app, instance)
	if err != nil {
		return err
	}
	s, err := kind.Salvage(ctx, data, a.termsHere(of))
	if err != nil {
		return &stepError{codeData, fmt.Sprintf("what is left here of the data of %s: %v", instance, err)}
	}
	if s.Epoch == 0 {
		return nil
	}
	a.cfg.Log.Error("the app went on without data that are here: they are set aside", zap.String("instance", instance), zap.Stringer("from", s.From),
		zap.Stringer("found", s.Found), zap.Int64("bytes", s.Bytes), zap.String("path", s.Path))
	err = a.lost.Add(api.LostData{App: app.Name, Data: events.DataLost{Instance: instance, Node: a.cfg.Node, Epoch: s.Epoch, From: s.From.String(),
		Found: s.Found.String(), Bytes: s.Bytes, Aside: s.Path}})
	a.kick()
	return err
}
