//go:build linux

package process

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// A watchdog is started while an instance is prepared and waits until it is to run: that would be most of what a start takes, in the
// middle of the pause of a move.

// arm has a watchdog wait for the start of the instance; op is held and nothing runs. Where it cannot be started the start will say why.
func (d *Driver) arm(ctx context.Context, in *instance) {
	if in.spare != nil {
		return
	}
	ctx, cancel := d.until(ctx)
	defer cancel()
	spare, err := watchdog.Ready(ctx, d.opts.WatchdogCommand, in.dir)
	if err != nil {
		d.opts.Logger.Warn("no watchdog waits for the start", zap.String("instance", in.id), zap.Error(err))
		return
	}
	in.spare = spare
}

// disarm lets a watchdog that waits end; op is held.
func (in *instance) disarm() {
	if in.spare != nil {
		in.spare.Close()
		in.spare = nil
	}
}

// dispatch launches a program by the watchdog that waits, or by another one where there is none any more; op is held.
func (d *Driver) dispatch(ctx context.Context, in *instance, l watchdog.Launch) (watchdog.State, error) {
	if spare := in.spare; spare != nil {
		in.spare = nil
		state, err := spare.Launch(ctx, l)
		if !errors.Is(err, watchdog.ErrEnded) {
			return state, err
		}
		d.opts.Logger.Warn("the watchdog that waited is gone", zap.String("instance", in.id), zap.Error(err))
	}
	return watchdog.Start(ctx, d.opts.WatchdogCommand, in.dir, l)
}
