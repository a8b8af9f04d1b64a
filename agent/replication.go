package agent

import (
	"context"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Replication carries the data of singletons from their active to other nodes. Who may lead which epoch is the business of the log, and
// a leader of an old epoch harms nobody. Of files each epoch is a history of its own, and nobody reads what such a leader ships any more; in a log
// the epochs are parts of one history, and it is refused. Package agent/replicationtest is what every kind has to do. All methods are safe for concurrent use; for one instance the agent makes one call after the other,
// and has at most one of Lead and Follow open. Errors name the file or store and the reason.
type Replication interface {
	// Kind is the name of the implementation: one of spec.Replication….
	Kind() string
	// Check says why the data cannot be replicated as they are on this node: not what they should be, or the store is out of
	// reach. It changes nothing. Data that are not there yet are fine.
	Check(ctx context.Context, d Data) error
	// Promote writes down that the local data are those of epoch, whatever they were: what is started next may write to them. It is on the
	// disk when it returns. Nobody follows or leads them then, but that what a Flush has left to be done may be under way: it is given up, for nobody will ask
	// what they were. Lead promotes what was not promoted; done before, it costs no time then.
	Promote(ctx context.Context, d Data, epoch uint64) error
	// Lead ships the local data under epoch from now on, starting with all of them. It is called once the instance is being
	// started as the active of epoch, so the data may change at any moment and may not be there yet. Called again for an epoch that
	// this node led before (its agent restarted while the app ran on), it goes on where it was. It returns without waiting for
	// anything to be shipped.
	Lead(ctx context.Context, d Data, epoch uint64) (Leading, error)
	// Follow keeps the local copy close behind what is shipped under epoch. It replaces whatever is in its way locally: the
	// caller knows that it is worth nothing; but what was led here and not shipped to its end is set aside. It returns without waiting for the copy.
	Follow(ctx context.Context, d Data, epoch uint64) (Following, error)
	// Recover makes the local data those of the newest position that is known, for nobody is there to ask. terms are the epochs
	// of the app that were ever granted, newest first. The newest one of which anything exists counts; a local copy that led
	// it is complete and preferred, whatever of it was shipped. Where nothing of an epoch was shipped but its leader began
	// from a position of the one before, that position is as good. No data at all is the zero Recovered.
	Recover(ctx context.Context, d Data, terms []Term) (Recovered, error)
	// Local returns the epoch that the local data are of, led or copied; 0 where there are none, or nobody knows.
	Local(d Data) (uint64, error)
	// Prove returns nil when what the store has of an epoch is enough to restore from, which it tries. The local data are not touched.
	Prove(ctx context.Context, d Data, epoch uint64) error
	// Salvage sets the local data aside where they led an epoch of terms, newest first, and have more of it than the next epoch that was
	// activated began with: nobody else has that. The zero Salvaged says that nothing is lost with them. Nothing leads or
	// follows meanwhile. Done again before anybody follows or leads, it says the same.
	Salvage(ctx context.Context, d Data, terms []Term) (Salvaged, error)
	// Forget deletes what the store has of epochs below keep, once what it has of keep is proved to be enough to restore from, and returns how many
	// objects that were: none of a kind whose newest epoch rests on those before it.
	Forget(ctx context.Context, d Data, keep uint64) (int, error)
}

// Data names what one instance keeps on this node.
//
// Where there are no data yet, an empty copy is exactly that, and files are at position 0 of the epoch.
type Data struct {
	App      spec.App
	Instance string
	Path     string // of the database; "" where the kind has no file
	Dir      string // for what the replication itself keeps: it survives the agent and belongs to nobody else
}

// AsideTail is what the name of data that were set aside has after their own, with the epoch that they led behind it.
const AsideTail = ".aside-e"

// SpareTail is what follows that where everything in them is known to be elsewhere, too.
const SpareTail = ".spare"

// Term is one epoch of an app, as the log tells it.
type Term struct {
	Epoch     uint64
	Here      bool            // granted to this machine: what is on its disk may be of that epoch
	Activated bool            // its leader may have written
	From      events.Position // what its leader began with, where that was stated
	FromSum   string          // the checksum there, where that was stated
	Final     events.Position // what it left, where it said so: whoever has that has everything
}

// Recovered is what Recover found.
type Recovered struct {
	Position events.Position
	Checksum string
	Complete bool      // nothing that was acknowledged can be missing
	Shipped  time.Time // stored time of the newest shipped object it rests on; zero where Complete
	Unsure   bool      // more may be stored than could be seen
}

// Salvaged is what Salvage has set aside.
type Salvaged struct {
	Epoch uint64          // that the data led; 0: there is nothing
	From  events.Position // what its successor began with
	Found events.Position // how far the data are
	Bytes int64           // of the changes behind From, as far as that is known
	Path  string
}

// Leading is the active's end of a replication.
type Leading interface {
	// Sync ships everything written before the call, while the app writes on, and returns the position that is safe then.
	Sync(ctx context.Context) (events.Position, error)
	// Flush ships the rest of what an app wrote that has ended, and returns where its epoch ends and the checksum of the
	// data there. Nothing is shipped after it. What else is to be done with the data locally may go on until Close returns.
	Flush(ctx context.Context) (events.Position, string, error)
	// Status returns how far it is. It does not block.
	Status() Replicated
	// Close ends the shipping at once, without flushing. The data stay.
	Close() error
}

// Following is a standby's end of a replication.
type Following interface {
	// CatchUp returns once everything up to p is in the local copy, which it verifies.
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
	Bytes    uint64        // of an active: stored since Lead; of a standby: fetched since Follow
	Resyncs  int           // times that a copy was begun anew since it could not go on, or all was shipped anew since it was not what is here
	Err      string        // why it does not go on at present; "" while it does
}
