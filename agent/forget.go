package agent

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// Pauses of who forgets.
const (
	forgetAfter = 10 * time.Second // after an epoch was begun, and between looks whether it is shipped
	forgetRetry = 5 * time.Minute  // after an attempt that failed
	forgetAgain = time.Minute      // after one that did not: nobody is to ship into an epoch that has ended
)

// forget deletes what the store has of epochs before the one that is led here, once that is wholly in the store: from then on nobody can want
// them. It tries until that is done. Whoever is killed meanwhile has deleted some of it; the next one deletes the rest. Afterwards it looks
// now and then whether somebody ships into them still, who does not know that his has ended: nobody reads that, and people are told. It
// ends with the leading or ctx.
func (r *replicas) forget(ctx context.Context, kind Replication, d Data, epoch uint64, l Leading) {
	log := r.log.With(zap.String("instance", d.Instance), zap.Uint64("epoch", epoch))
	done := false
	for wait := forgetAfter; sleep(ctx, wait); {
		if e := r.end(d.Instance); e.lead != l || !e.leads() {
			return
		}
		wait = forgetAfter
		if l.Status().Position.Seq == 0 {
			continue
		}
		n, err := kind.Forget(ctx, d, epoch)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Warn("old epochs are kept in the store", zap.Error(err))
			wait = forgetRetry
		case n > 0 && done:
			log.Warn("somebody ships into an epoch that has ended: it is deleted", zap.Int("objects", n))
			r.strayed(d.Instance, l, n)
			fallthrough
		default:
			done, wait = true, forgetAgain
		}
	}
}

// strayed counts what was shipped into epochs that had ended.
func (r *replicas) strayed(id string, l Leading, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.ends[id]; e != nil && e.lead == l {
		e.strays += n
	}
}
