package litestream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/superfly/ltx"

	"github.com/go-cluster/go-cluster/events"
)

// store is the bucket of one app. It is safe for concurrent use.
type store struct {
	js     jetstream.JetStream
	obs    jetstream.ObjectStore
	stream jetstream.Stream
	bucket string
	chunk  uint32
}

// Bucket returns the name of the object store that has the data of an app.
func Bucket(s events.Subjects, app string) string { return "GC_" + s.Cluster() + "_DATA_" + app }

// openStore binds to the bucket of an app, which it makes where there is none.
func (r *Replication) openStore(ctx context.Context, app string) (*store, error) {
	bucket := Bucket(r.o.Subjects, app)
	obs, err := r.o.JS.ObjectStore(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		r.mu.Lock()
		replicas := cmp.Or(r.o.Replicas, r.replicas)
		r.mu.Unlock()
		obs, err = r.o.JS.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: bucket, Description: "go-cluster data of " + app + ": what its databases wrote, by epoch",
			Storage: jetstream.FileStorage, Replicas: replicas, MaxBytes: r.o.MaxBytes,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another node was first
			obs, err = r.o.JS.ObjectStore(ctx, bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", bucket, err)
	}
	stream, err := r.o.JS.Stream(ctx, "OBJ_"+bucket)
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", bucket, err)
	}
	chunk := min(256<<10, max(1<<10, r.o.JS.Conn().MaxPayload()/2))
	return &store{js: r.o.JS, obs: obs, stream: stream, bucket: bucket, chunk: uint32(chunk)}, nil
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
	infos, err := s.obs.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, fmt.Errorf("list object store %s: %w", s.bucket, err)
	}
	var out []file
	for _, info := range infos {
		if f, ok := h.parse(info); ok {
			out = append(out, f)
		}
	}
	return out, nil
}

func (s *store) put(ctx context.Context, name string, r io.Reader) (*jetstream.ObjectInfo, error) {
	return s.obs.Put(ctx, jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: s.chunk}}, r)
}

// get returns the content of a file. One of a single chunk is there in one round trip. It is for the reader to verify it: an LTX file
// carries a checksum of itself.
func (s *store) get(ctx context.Context, f file) (io.ReadCloser, error) {
	if f.chunks == 1 {
		m, err := s.stream.GetLastMsgForSubject(ctx, "$O."+s.bucket+".C."+f.nuid)
		if err != nil {
			return nil, fmt.Errorf("object %s: %w", f.name, err)
		}
		return io.NopCloser(bytes.NewReader(m.Data)), nil
	}
	o, err := s.obs.Get(ctx, f.name)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", f.name, err)
	}
	return o, nil
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
