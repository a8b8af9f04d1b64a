package wal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

const (
	snapshotTime = 10 * time.Minute // that a snapshot may take
	undoTime     = 10 * time.Second // that it may take to undo one
)

// maybeSnapshot makes a snapshot in the background when it is time for one.
func (l *Log) maybeSnapshot() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.every < 0 || l.since < l.every || l.snapping {
		return
	}
	l.snapping = true
	l.snaps.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), snapshotTime)
		defer cancel()
		err := l.Snapshot(ctx)
		if err != nil {
			l.log.Error("snapshot not made: the log keeps its records, and it is tried again after as many more", zap.String("log", l.name), zap.Error(err))
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.snapping = false
		if err != nil {
			l.since = 0
		}
	})
}

// Wait returns when no snapshot is being made.
func (l *Log) Wait() { l.snaps.Wait() }

// A snapshot is a row of messages gc.<cluster>.snap.<app>.<sequence>.<id>.<n>, and one with n "end" that is stored last and says how
// many there are and what they sum up to. Without it they are nothing.
const (
	chunkBytes   = 512 << 10
	headerChunks = "Gc-Chunks"
	headerSum    = "Gc-Sum"
	headerLife   = "Gc-Life" // of the log
	endOfChunks  = "end"
)

// Snapshot stores the state, proves that it can be read back, and lets go of the records and the snapshots before it.
func (l *Log) Snapshot(ctx context.Context) error {
	fail := func(err error) error { return fmt.Errorf("snapshot of log %s: %w", l.name, err) }
	var b bytes.Buffer
	l.mu.Lock()
	if l.broken != nil {
		defer l.mu.Unlock()
		return fail(l.broken)
	}
	at, epoch, counted := l.applied, l.begun, l.since
	err := l.state.Snapshot(&b)
	l.mu.Unlock()
	switch {
	case err != nil:
		return fail(err)
	case at == 0:
		return nil
	}
	stream, err := l.bind(ctx, l.snapName, l.snapSubject+".>")
	if err != nil {
		return fail(err)
	}
	s := snapshot{seq: at, prefix: fmt.Sprintf("%s.%d.%s", l.snapSubject, at, nuid.Next())}
	if err := l.proven(ctx, stream, s, epoch, b.Bytes()); err != nil {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		return fail(errors.Join(err, stream.Purge(gone, jetstream.WithPurgeSubject(s.prefix+".>")))) // nobody needs it: the records are there
	}
	l.mu.Lock()
	l.since -= counted
	l.mu.Unlock()
	// The record that the snapshot ends with stays: the next one's expectation names it.
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(at)); err != nil {
		return fail(err)
	}
	if err := l.forget(ctx, stream, at); err != nil {
		return fail(err)
	}
	return nil
}

// proven stores a snapshot and reads it back.
func (l *Log) proven(ctx context.Context, stream jetstream.Stream, s snapshot, epoch uint64, state []byte) error {
	if err := l.upload(ctx, s, epoch, state); err != nil {
		return err
	}
	switch back, _, err := download(ctx, stream, s); {
	case err != nil:
		return fmt.Errorf("read back: %w", err)
	case !bytes.Equal(back, state):
		return errors.New("what is read back is not what was stored")
	}
	return nil
}

// forget deletes what there is of snapshots before seq, whole or not, since there is one that ends with seq.
func (l *Log) forget(ctx context.Context, stream jetstream.Stream, seq uint64) error {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(l.snapSubject+".>"))
	if err != nil {
		return err
	}
	old := map[string]bool{}
	for subject := range info.State.Subjects {
		s, err := l.named(subject)
		if err != nil {
			return err
		}
		if s.seq < seq {
			old[s.prefix] = true
		}
	}
	for prefix := range old {
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(prefix+".>")); err != nil {
			return err
		}
	}
	return nil
}

// named returns the snapshot that a message is a part of.
func (l *Log) named(subject string) (snapshot, error) {
	t := strings.Split(strings.TrimPrefix(subject, l.snapSubject+"."), ".")
	if len(t) != 3 {
		return snapshot{}, fmt.Errorf("subject %s is not that of a part of a snapshot", subject)
	}
	seq, err := strconv.ParseUint(t[0], 10, 64)
	if err != nil {
		return snapshot{}, fmt.Errorf("subject %s: %w", subject, err)
	}
	return snapshot{seq: seq, prefix: l.snapSubject + "." + t[0] + "." + t[1]}, nil
}

func (l *Log) upload(ctx context.Context, s snapshot, epoch uint64, b []byte) error {
	put := func(n string, h nats.Header, data []byte) error {
		msg := nats.NewMsg(s.prefix + "." + n)
		msg.Header, msg.Data = h, data
		_, err := l.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(l.snapName))
		return err
	}
	n := 0
	for chunk := range slices.Chunk(b, chunkBytes) {
		if err := put(strconv.Itoa(n), nats.Header{}, chunk); err != nil {
			return err
		}
		n++
	}
	sum := sha256.Sum256(b)
	return put(endOfChunks, nats.Header{headerEpoch: {strconv.FormatUint(epoch, 10)}, headerChunks: {strconv.Itoa(n)},
		headerSum: {hex.EncodeToString(sum[:])}, headerLife: {l.life}}, nil)
}

func download(ctx context.Context, stream jetstream.Stream, s snapshot) (b []byte, epoch uint64, err error) {
	end, err := stream.GetLastMsgForSubject(ctx, s.prefix+"."+endOfChunks)
	if err != nil {
		return nil, 0, err
	}
	n, err1 := strconv.Atoi(end.Header.Get(headerChunks))
	epoch, err2 := strconv.ParseUint(end.Header.Get(headerEpoch), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return nil, 0, err
	}
	for i := range n {
		m, err := stream.GetLastMsgForSubject(ctx, s.prefix+"."+strconv.Itoa(i))
		if err != nil {
			return nil, 0, fmt.Errorf("part %d of %d: %w", i, n, err)
		}
		b = append(b, m.Data...)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != end.Header.Get(headerSum) {
		return nil, 0, errors.New("its sum is another")
	}
	return b, epoch, nil
}

type snapshot struct {
	seq    uint64
	prefix string
}

// snapshots lists those that are whole and of this life of the log, oldest first.
func (l *Log) snapshots(ctx context.Context, stream jetstream.Stream) ([]snapshot, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(l.snapSubject+".*.*."+endOfChunks))
	if err != nil {
		return nil, err
	}
	var out []snapshot
	for subject := range info.State.Subjects {
		m, err := stream.GetLastMsgForSubject(ctx, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue // a newer one is there by now
		case err != nil:
			return nil, err
		case m.Header.Get(headerLife) != l.life:
			continue // sequences begin anew with each life
		}
		s, err := l.named(subject)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b snapshot) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.prefix, b.prefix)) })
	return out, nil
}

// read reads the newest snapshot, the zero snapshot where there is none. Snapshots are made meanwhile, and older ones go: then it looks again.
func (l *Log) read(ctx context.Context) (s snapshot, state []byte, epoch uint64, err error) {
	stream, err := l.bind(ctx, l.snapName, l.snapSubject+".>")
	if err != nil {
		return s, nil, 0, err
	}
	for {
		all, err := l.snapshots(ctx, stream)
		listed := stream.CachedInfo().State.LastSeq
		if len(all) > 0 {
			s = all[len(all)-1]
			if state, epoch, err = download(ctx, stream, s); err == nil {
				return s, state, epoch, nil
			}
			err = fmt.Errorf("snapshot %s: %w", s.prefix, err)
		}
		now, infoErr := stream.Info(ctx)
		if infoErr != nil || now.State.LastSeq == listed {
			return snapshot{}, nil, 0, cmp.Or(err, infoErr)
		}
	}
}

// restore replaces the state, which is not ahead of the record from, by the newest snapshot, which must be, unless that was done
// meanwhile.
func (l *Log) restore(ctx context.Context, from uint64) error {
	newest, b, epoch, err := l.read(ctx)
	if err != nil {
		return err
	}
	switch _, at := l.Applied(); {
	case at > from:
		return nil
	case newest.seq <= from:
		return fmt.Errorf("%w: records behind %d are gone, and no snapshot has them", errGap, from)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.broken != nil:
		return l.broken
	case l.applied >= newest.seq: // overtaken
		return nil
	}
	if err := l.state.Restore(bytes.NewReader(b)); err != nil {
		return l.breaks(fmt.Errorf("restore snapshot %s: %w", newest.prefix, err))
	}
	if l.applied > 0 {
		l.count.Resyncs++
	}
	l.count.Followed += uint64(len(b))
	l.begun, l.since = max(l.begun, epoch), 0
	l.advance(newest.seq)
	return nil
}
