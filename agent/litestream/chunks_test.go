//go:build linux

package litestream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// random returns bytes that no two chunks have in common.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// A database that takes longer to fetch than one question to the store may take is fetched all the same: a following has no end.
func TestLongObjectIsRead(t *testing.T) {
	l := newLab(t)
	js, err := jetstream.New(l.js.Conn(), jetstream.WithDefaultTimeout(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{JS: js, Subjects: l.subjects}).openStore(limit(t), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	want := random(20 << 20)
	o, err := s.put(limit(t), "long", bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	content, err := s.get(context.WithoutCancel(t.Context()), file{name: "long", nuid: o.NUID, chunks: o.Chunks})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	got, err := io.ReadAll(content)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d of %d bytes: %v", len(got), len(want), err)
	}
}

// Of what is being deleted the content goes first. Whoever still sees the name does not wait for it.
func TestObjectWithoutContentIsGone(t *testing.T) {
	l := newLab(t)
	s, err := New(Options{JS: l.js, Subjects: l.subjects}).openStore(limit(t), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.put(limit(t), "gone", bytes.NewReader(random(1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.stream.Purge(limit(t), jetstream.WithPurgeSubject("$O."+s.bucket+".C."+o.NUID)); err != nil {
		t.Fatal(err)
	}
	content, err := s.get(limit(t), file{name: "gone", nuid: o.NUID, chunks: o.Chunks})
	if err == nil {
		_, err = io.ReadAll(content)
		_ = content.Close()
	}
	if !errors.Is(err, errGone) {
		t.Errorf("got %v, want errGone", err)
	}
}
