package main

import (
	"time"

	"github.com/go-cluster/go-cluster/api"
)

// outageLimit is how long a control plane is borne with that does not answer, before what looks at it ends.
const outageLimit = time.Minute

// outages bears with a control plane that does not answer for a while.
type outages struct {
	*client
	down time.Time // since when it does not; zero: it does
	why  error     // what came last instead of an answer
}

// outage bears with a control plane that does not answer for a while; any other error is returned.
func (o *outages) outage(err error) error {
	code := api.CodeOf(err)
	if code != api.CodeUnavailable && code != api.CodeTimeout {
		return err
	}
	if o.why = err; o.ctx.Err() != nil {
		return err
	}
	now := time.Now()
	if o.down.IsZero() {
		o.down = now
		o.notef("%s", styleOf(o.err).warn("the control plane does not answer, still trying: "+err.Error()))
	}
	if now.Sub(o.down) > outageLimit {
		return fail(exitUnreachable, "no answer from the control plane for %s: %w", span(outageLimit), err)
	}
	return pause(o.ctx, retryPause)
}

func (o *outages) up() {
	if !o.down.IsZero() {
		o.notef("%s", styleOf(o.err).faint("the control plane answers again"))
		o.down = time.Time{}
	}
}
