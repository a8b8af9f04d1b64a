package agent

import (
	"context"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Replication carries the data of singletons from their active to other nodes. It knows epochs only as names of separate
// histories: who may lead which epoch is the business of the log, and a leader of an old epoch harms nobody, since nobody reads
// what it ships any more. All methods are safe for concurrent use; for one instance the agent makes one call after the other,
// and has at most one of Lead and Follow open. Errors name the file or store and the reason.
type Replication interface {
	// Kind is the name of the implementation, e.g. "sqlite".
	Kind() string
	// Check says why the data cannot be replicated as they are on this node: not what they should be, or the store is out of
	// reach. It changes nothing. Data that are not there yet are fine.
	Check(ctx context.Context, d Data) error
	// Lead ships the local data under epoch from now on, starting with all of them. It is called once the instance is being
	// started as the active of epoch, so the data may change at any moment and may not be there yet. Called again for an epoch that
	// this node led before (its agent restarted while the app ran on), it goes on where it was. It returns without waiting for
	// anything to be shipped.
	Lead(ctx context.Context, d Data, epoch uint64) (Leading, error)
	// Follow keeps the local copy close behind what is shipped under epoch. It replaces whatever is in its way locally: the
	// caller knows that it is worth nothing. It returns without waiting for the copy.
	Follow(ctx context.Context, d Data, epoch uint64) (Following, error)
	// Recover makes the local data those of the newest position that is known, for nobody is there to ask. terms are the epochs
	// of the app that were ever granted, newest first. The newest one of which anything exists counts; a local copy that led
	// it is complete and preferred, whatever of it was shipped. Where nothing of an epoch was shipped but its leader began
	// from a position of the one before, that position is as good. No data at all is the zero Recovered.
	Recover(ctx context.Context, d Data, terms []Term) (Recovered, error)
	// Forget deletes what the store has of epochs below keep, once what it has of keep is proved to be enough to restore from.
	Forget(ctx context.Context, d Data, keep uint64) error
}

// Data names what one instance keeps on this node.
//
// Where there are no data yet, their position is 0 of the epoch, and an empty copy is exactly that.
type Data struct {
	App      spec.App
	Instance string
	Path     string // of the database; "" where the kind has no file
	Dir      string // for what the replication itself keeps: it survives the agent and belongs to nobody else
}

// Term is one epoch of an app, as the log tells it.
type Term struct {
	Epoch     uint64
	Here      bool            // granted to this machine: what is on its disk may be of that epoch
	Activated bool            // its leader may have written
	From      events.Position // what its leader began with, where that was stated
	Final     events.Position // what it left, where it said so: whoever has that has everything
}

// Recovered is what Recover found.
type Recovered struct {
	Position events.Position
	Checksum string
	Complete bool      // nothing that was acknowledged can be missing
	Shipped  time.Time // stored time of the newest shipped object it rests on; zero where Complete
}

// Leading is the active's end of a replication.
type Leading interface {
	// Sync ships everything written before the call, while the app writes on, and returns the position that is safe then.
	Sync(ctx context.Context) (events.Position, error)
	// Flush ships the rest of what an app wrote that has ended, and returns where its epoch ends and the checksum of the
	// data there. Nothing is shipped after it.
	Flush(ctx context.Context) (events.Position, string, error)
	// Status returns how far it is. It does not block.
	Status() Replicated
	// Close ends the shipping at once, without flushing. The data stay.
	Close() error
}

// Following is a standby's end of a replication.
type Following interface {
	// CatchUp returns once everything up to p is in the local copy.
	CatchUp(ctx context.Context, p events.Position) (events.Position, error)
	// Apply is CatchUp to the exact end p of the epoch, compares the checksum, and leaves data that an app can be started on. It
	// ends the following. After an error the copy is not to be used.
	Apply(ctx context.Context, p events.Position, checksum string) error
	// Status returns how far it is. It does not block.
	Status() Replicated
	// Close ends the following. What was applied stays, and a later Follow of the same epoch goes on from there.
	Close() error
}

// Replicated is how far one end of a replication is.
type Replicated struct {
	Position events.Position
	Lag      time.Duration // of an active: age of the oldest write that is not shipped; of a standby: for how long it has known of more
	Resyncs  int           // times that a copy was begun anew since it could not go on
	Err      string        // why it does not go on at present; "" while it does
}
