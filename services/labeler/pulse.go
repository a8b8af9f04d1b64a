package labeler

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const beatEvery = time.Second

// pulse keeps this replica's heartbeat and what it proves. It is safe for concurrent use.
type pulse struct {
	mu sync.Mutex
	Pulse
	broken bool // since the newest acknowledgement
}

func (p *pulse) get() Pulse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Pulse
}

// acked takes note of an acknowledged heartbeat. After the first, after one that failed, and after a gap for whatever reason (a
// paused process has failed at nothing), the clocks of silence start anew.
func (p *pulse) acked(sent time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Beating || p.broken || sent-p.Acked >= ackFresh {
		p.Since = sent
	}
	p.Beating, p.broken, p.Acked = true, false, sent
}

// disturbed takes note of a failed heartbeat or a new connection.
func (p *pulse) disturbed(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken, p.Since = true, max(p.Since, now)
}

// beat writes a heartbeat every second until ctx ends.
func (s *Service) beat(ctx context.Context) error {
	connected := s.NC.StatusChanged(nats.CONNECTED)
	defer s.NC.RemoveStatusListener(connected)
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		sent := s.Boot()
		try, cancel := context.WithTimeout(ctx, ackFresh)
		_, err := s.Leases.Beat(try, s.Name, s.Config.Replica)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.pulse.disturbed(s.Boot())
			s.Log.Warn("heartbeat failed: the clocks of silence start anew", zap.Error(err))
		} else {
			s.pulse.acked(sent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
			s.pulse.disturbed(s.Boot())
		case <-tick.C:
		}
	}
}
