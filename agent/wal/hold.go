package wal

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// lingers is how long a follower goes on that nobody wants: who is about to become active, or has just stepped down, need not begin anew.
const lingers = 10 * time.Second

// held is a follower that goes on as long as somebody wants it. It is guarded by the log's mu.
type held struct {
	by     int
	ended  chan struct{} // closed when the follower has ended; nil while there is none
	cancel context.CancelFunc
	last   *time.Timer // ends it
	why    error       // that it has ended by itself
}

// Hold has the state follow the log until release is called. All who hold it share one follower.
func (l *Log) Hold() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &l.held
	h.by++
	if h.last != nil {
		h.last.Stop()
		h.last = nil
	}
	if !h.runs() {
		ctx, cancel := context.WithCancel(context.Background())
		h.ended, h.cancel, h.why = make(chan struct{}), cancel, nil
		go l.followHeld(ctx, h.ended)
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.by--; h.by == 0 {
			h.last = time.AfterFunc(lingers, l.drop)
		}
	})
}

func (l *Log) followHeld(ctx context.Context, ended chan struct{}) {
	defer close(ended)
	err := l.Follow(ctx)
	if err == nil {
		return
	}
	l.mu.Lock()
	if l.held.ended == ended {
		l.held.why = err
	}
	l.mu.Unlock()
	if !errors.Is(err, nats.ErrConnectionClosed) { // the program ends
		l.log.Error("the app's log is not followed any more", zap.String("log", l.name), zap.Error(err))
	}
}

// drop ends the follower unless somebody wants it.
func (l *Log) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.by == 0 && l.held.runs() {
		l.held.cancel()
		l.held.ended, l.held.last = nil, nil
	}
}

func (h *held) runs() bool {
	select {
	case <-h.ended:
		return false
	default:
		return h.ended != nil
	}
}

// followed says whether somebody holds the log.
func (l *Log) followed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.runs()
}

// fault says why the state does not go on.
func (l *Log) fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	return l.held.why
}
