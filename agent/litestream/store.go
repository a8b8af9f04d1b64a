package litestream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/superfly/ltx"

	"github.com/go-cluster/go-cluster/events"
)

// errGone says that an object is not there any more, or not whole.
var errGone = errors.New("it is not in the store any more")

// store is the bucket of one app. It is safe for concurrent use.
type store struct {
	js     jetstream.JetStream
	obs    jetstream.ObjectStore
	stream jetstream.Stream
	bucket string
	chunk  uint32
	since  uint64 // what is listed is at least all that was stored up to here; see vouched
}

// Bucket returns the name of the object store that has the data of an app.
func Bucket(s events.Subjects, app string) string { return "GC_" + s.Cluster() + "_DATA_" + app }

// openStore binds to the bucket of an app, which it makes where there is none.
func (r *Replication) openStore(ctx context.Context, app string) (*store, error) {
	bucket := Bucket(r.o.Subjects, app)
	js, err := r.link.jetStream()
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", bucket, err)
	}
	obs, err := js.ObjectStore(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if _, err := r.history(ctx, 0); err != nil { // which knows of the replicas
			return nil, err
		}
		r.mu.Lock()
		replicas := cmp.Or(r.o.Replicas, r.replicas)
		r.mu.Unlock()
		obs, err = js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: bucket, Description: "go-cluster data of " + app + ": what its databases wrote, by epoch",
			Storage: jetstream.FileStorage, Replicas: replicas, MaxBytes: r.o.MaxBytes,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another node was first
			obs, err = js.ObjectStore(ctx, bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", bucket, err)
	}
	stream, err := js.Stream(ctx, "OBJ_"+bucket)
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", bucket, err)
	}
	chunk := min(256<<10, max(1<<10, js.Conn().MaxPayload()/2))
	return &store{js: js, obs: obs, stream: stream, bucket: bucket, chunk: uint32(chunk)}, nil
}

// history is one epoch in one life of the event log: a restored log counts the same epochs again.
type history struct {
	incarnation string
	epoch       uint64
}

func (h history) String() string { return h.incarnation + "/e" + strconv.FormatUint(h.epoch, 10) }

func (h history) object(level int, first, last uint64) string {
	return fmt.Sprintf("%s/%d/%s", h, level, ltx.FormatFilename(ltx.TXID(first), ltx.TXID(last)))
}

// historyOf returns the history that an object is of.
func historyOf(object string) (h history, ok bool) {
	incarnation, rest, _ := strings.Cut(object, "/e")
	epoch, _, ok := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(epoch, 10, 64)
	return history{incarnation, n}, ok && err == nil
}

// parse reads the name of an object of the history; false for one of another.
func (h history) parse(info *jetstream.ObjectInfo) (file, bool) {
	level, name, ok := strings.Cut(strings.TrimPrefix(info.Name, h.String()+"/"), "/")
	n, err := strconv.Atoi(level)
	first, last, err2 := ltx.ParseFilename(name)
	if !ok || err != nil || err2 != nil || h.object(n, uint64(first), uint64(last)) != info.Name {
		return file{}, false
	}
	return file{span: span{n, uint64(first), uint64(last)}, size: int64(info.Size), stored: info.ModTime, nuid: info.NUID, chunks: info.Chunks, name: info.Name}, true
}

// list returns what the bucket has of a history.
func (s *store) list(ctx context.Context, h history) ([]file, error) {
	infos, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	var out []file
	for _, info := range infos {
		if f, ok := h.parse(info); ok {
			out = append(out, f)
		}
	}
	return out, nil
}

// all returns every object that there is. Any server that keeps the bucket may answer, and one that is behind does not know of what the others have
// acknowledged: who wants to be sure has it vouched for before, and asks until the answer has what the stream's leader has.
func (s *store) all(ctx context.Context) (out []*jetstream.ObjectInfo, err error) {
	for began := time.Now(); ; pause(ctx, doubtAfter) {
		missing := map[string]bool{}
		if s.since > 0 {
			if missing, err = s.names(ctx); err != nil {
				return nil, err
			}
		}
		if out, err = s.told(ctx); err != nil {
			return nil, err
		}
		for _, info := range out {
			delete(missing, info.Name)
		}
		if len(missing) == 0 {
			return slices.DeleteFunc(out, func(info *jetstream.ObjectInfo) bool { return info.Deleted }), nil
		}
		if time.Since(began) > quietTime {
			return nil, fmt.Errorf("list object store %s: who answers does not have %d objects that are stored", s.bucket, len(missing))
		}
	}
}

// Refusals of a stream that has no room.
const (
	codeAccountFull   jetstream.ErrorCode = 10002
	codeNoResources   jetstream.ErrorCode = 10023
	codeServerFull    jetstream.ErrorCode = 10047
	codeStreamRefuses jetstream.ErrorCode = 10077
)

// vouched has what is listed from now on be at least all that was acknowledged before the call. A server that is cut off from the others goes on as the
// stream's leader for some 20 s, and does not know what they store meanwhile. But it can store nothing: so something is stored, and who does
// not have it is not believed. It is content without a name, of which there is one, and goes when that is swept.
//
// It returns false where the store has no room even for that: then the leader's word is all that there is.
func (s *store) vouched(ctx context.Context) (bool, error) {
	try, cancel := context.WithTimeout(ctx, quietTime)
	defer cancel()
	m := nats.NewMsg("$O." + s.bucket + ".C.vouch")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	ack, err := s.js.PublishMsg(try, m)
	if err == nil {
		s.since = ack.Sequence
		return true, nil
	}
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		switch refused.ErrorCode {
		case codeAccountFull, codeNoResources, codeServerFull, codeStreamRefuses:
			s.since = 1 // whoever is asked has that
			return false, nil
		}
	}
	return false, fmt.Errorf("object store %s: nobody vouches for what is stored in it: %w", s.bucket, err)
}

// names returns the objects of all histories that the stream's leader has.
func (s *store) names(ctx context.Context) (map[string]bool, error) {
	prefix := "$O." + s.bucket + ".M."
	var info *jetstream.StreamInfo
	for began := time.Now(); ; pause(ctx, doubtAfter) {
		var err error
		if info, err = s.stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">")); err != nil {
			return nil, fmt.Errorf("objects of object store %s: %w", s.bucket, err)
		}
		if info.State.LastSeq >= s.since {
			break
		}
		if time.Since(began) > quietTime {
			return nil, fmt.Errorf("objects of object store %s: who answers is at %d, and %d is stored", s.bucket, info.State.LastSeq, s.since)
		}
	}
	out := map[string]bool{}
	for subject := range info.State.Subjects {
		name, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(subject, prefix))
		if _, ok := historyOf(string(name)); ok && err == nil {
			out[string(name)] = true
		}
	}
	return out, nil
}

// told returns every object that somebody tells of, deleted ones, too. The library's own list takes one that was cut off for the whole.
func (s *store) told(ctx context.Context) (out []*jetstream.ObjectInfo, err error) {
	updates, stop, err := s.watch(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	for {
		select {
		case info, ok := <-updates:
			quiet.Reset(quietTime)
			switch {
			case !ok:
				return nil, fmt.Errorf("list object store %s: it was cut off after %d", s.bucket, len(out))
			case info == nil:
				return out, nil
			}
			out = append(out, info)
		case <-quiet.C:
			return nil, fmt.Errorf("list object store %s: nothing came after %d", s.bucket, len(out))
		case <-ctx.Done():
			return nil, fmt.Errorf("list object store %s: %w", s.bucket, context.Cause(ctx))
		}
	}
}

// watch tells of every object, those that are there first, until stop is called.
func (s *store) watch(ctx context.Context) (updates <-chan *jetstream.ObjectInfo, stop func(), err error) {
	w, err := s.obs.Watch(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("watch object store %s: %w", s.bucket, err)
	}
	return w.Updates(), func() {
		_ = w.Stop()
		for range w.Updates() { // who tells waits until each is taken, and ends then
		}
	}, nil
}

// before returns what the bucket has of epochs before that of a history, in the same life of the event log, oldest first.
func (s *store) before(ctx context.Context, h history) ([]file, error) {
	infos, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	epochs := map[uint64][]file{}
	for _, info := range infos {
		old, ok := historyOf(info.Name)
		if !ok || old.incarnation != h.incarnation || old.epoch >= h.epoch {
			continue
		}
		if f, ok := old.parse(info); ok {
			epochs[old.epoch] = append(epochs[old.epoch], f)
		}
	}
	var out []file
	for _, epoch := range slices.Sorted(maps.Keys(epochs)) {
		out = append(out, epochs[epoch]...)
	}
	return out, nil
}

func (s *store) put(ctx context.Context, name string, r io.Reader) (*jetstream.ObjectInfo, error) {
	return s.obs.Put(ctx, jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: s.chunk}}, full{r})
}

// full reads as much as there is room for: an object store makes a message of whatever one Read returns, and what is shipped is written
// piece by piece, a page or less each.
type full struct{ r io.Reader }

func (f full) Read(p []byte) (int, error) {
	n, err := io.ReadFull(f.r, p)
	if err == io.ErrUnexpectedEOF {
		err = nil // the next Read says that it is over
	}
	return n, err
}

// get returns the content of a file. One of a single chunk is there in one round trip. It is for the reader to verify it: an LTX file
// carries a checksum of itself.
func (s *store) get(ctx context.Context, f file) (io.ReadCloser, error) {
	if f.chunks == 1 {
		m, err := s.stream.GetLastMsgForSubject(ctx, "$O."+s.bucket+".C."+f.nuid)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = errGone
		}
		if err != nil {
			return nil, fmt.Errorf("object %s: %w", f.name, err)
		}
		return io.NopCloser(bytes.NewReader(m.Data)), nil
	}
	return s.chunks(ctx, f)
}

// remove deletes a file and every trace of its name. Its chunks go first: a name without content can be removed again, content
// without a name never.
func (s *store) remove(ctx context.Context, f file) error {
	name := base64.URLEncoding.EncodeToString([]byte(f.name))
	for _, subject := range []string{"$O." + s.bucket + ".C." + f.nuid, "$O." + s.bucket + ".M." + name} {
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("delete object %s: %w", f.name, err)
		}
	}
	return nil
}

// sweep deletes content that has no name and was stored before a time: whoever stored it was ended before it could give it one.
func (s *store) sweep(ctx context.Context, before time.Time) error {
	prefix := "$O." + s.bucket + ".C."
	content, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return fmt.Errorf("content of object store %s: %w", s.bucket, err)
	}
	objects, err := s.all(ctx) // after the content: what was given a name meanwhile has one
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, o := range objects {
		named[prefix+o.NUID] = true
	}
	for subject := range content.State.Subjects {
		if named[subject] {
			continue
		}
		switch last, err := s.stream.GetLastMsgForSubject(ctx, subject); {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue
		case err != nil:
			return fmt.Errorf("content %s: %w", subject, err)
		case !last.Time.Before(before):
			continue
		}
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("delete content %s: %w", subject, err)
		}
	}
	return nil
}
