package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

func TestEpochsSurviveAndRefuseLower(t *testing.T) {
	dir := t.TempDir()
	e, err := openEpochs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{3, 3, 5} {
		if err := e.Persist("db", n); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Persist("db", 4); err == nil || !strings.Contains(err.Error(), "epoch 5") {
		t.Errorf("epoch 4 after 5: %v", err)
	}
	again, err := openEpochs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.All(); !cmp.Equal(got, map[string]uint64{"db": 5}) {
		t.Errorf("after a restart: %v", got)
	}
}

func TestEndedEpochsSurvive(t *testing.T) {
	dir := t.TempDir()
	e, err := openEnded(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, b := api.FencedEpoch{App: "db", Instance: "db-0", Epoch: 3}, api.FencedEpoch{App: "mq", Instance: "mq-0", Epoch: 1}
	if err := errors.Join(e.Add(a), e.Add(b, a), e.Drop(func(f api.FencedEpoch) bool { return f.App == "mq" })); err != nil {
		t.Fatal(err)
	}
	again, err := openEnded(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.All(); !cmp.Equal(got, []api.FencedEpoch{a}) || !again.Has("db-0", 3) || again.Has("db-0", 4) || again.Has("mq-0", 1) {
		t.Errorf("after a restart: %v", got)
	}
}

// What could not be written is written with the next change: a wake-up is acknowledged only once its app is on the disk.
func TestHostedIsWrittenBeforeItCounts(t *testing.T) {
	dir := t.TempDir()
	h, err := openHosted(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.path+".new", 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Add("web"); err == nil {
			t.Fatal("it cannot have been written")
		}
	}
	if err := os.Remove(h.path + ".new"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Add("web"), h.Isolate("web", spec.OnIsolationContinue, false), h.MarkScanned("i1")); err != nil {
		t.Fatal(err)
	}
	again, err := openHosted(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Apps(); !cmp.Equal(got, []string{"web"}) || again.Isolation("web") != spec.OnIsolationContinue || !again.Scanned("i1") {
		t.Errorf("after a restart: %v %+v", got, again.state)
	}
}

func TestDirectoryIsOneAgentsAndOneNodes(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second lock: %v, want one that names process %d", err, os.Getpid())
	}
	_ = lock.Close()
	if lock, err = lockDir(dir); err != nil {
		t.Errorf("after the first has ended: %v", err)
	} else {
		_ = lock.Close()
	}
	one, err := openIdentity(dir, "c", "node-1", "b")
	if err != nil {
		t.Fatal(err)
	}
	again, err := openIdentity(dir, "c", "node-1", "b")
	if err != nil || again != one {
		t.Errorf("second time %+v, %v; first time %+v", again, err, one)
	}
	if _, err := openIdentity(dir, "c", "node-2", "b"); err == nil || !strings.Contains(err.Error(), "node-1") {
		t.Errorf("under another name: %v", err)
	}
}

func TestMandateEndsWithItsDeadline(t *testing.T) {
	now := 100 * time.Second
	a := newAuthority(func() time.Duration { return now }, 0)
	if _, ok := a.mandate(); ok {
		t.Fatal("acts without a lease")
	}
	a.extend("i1", now+10*time.Second)
	m, ok := a.mandate()
	if !ok || m.inc != "i1" {
		t.Fatal("no mandate under a held lease")
	}
	now += 10 * time.Second // nobody has noticed: the process was stopped
	if m.ok() || m.ctx.Err() != nil {
		t.Fatal("the deadline alone must end it")
	}
	if _, fine := a.ahead(); fine {
		t.Fatal("nothing left to fence?")
	}
	a.suspend()
	a.fencedAt()
	a.extend("i1", now+10*time.Second)
	if m.ok() || m.ctx.Err() == nil {
		t.Error("an ended mandate came back")
	}
	if m, ok := a.mandate(); !ok || m.inc != "i1" {
		t.Error("no new mandate after the lease was renewed")
	}
	during, cancel := m.during(context.Background())
	defer cancel(nil)
	if !errors.Is(context.Cause(during), errNoMandate) {
		t.Errorf("cause %v", context.Cause(during))
	}
}

func TestConfigIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		ttl, renew, margin time.Duration
	}{
		"TTL": {ttl: time.Second}, "renewal": {ttl: 9 * time.Second, renew: 4 * time.Second}, "margin": {ttl: 9 * time.Second, margin: 4 * time.Second},
	} {
		cfg := Config{Cluster: "c", Node: "n", Dir: "d", NC: nil, TTL: c.ttl, Renew: c.renew, Margin: c.margin}
		cfg.Dial, cfg.Driver, cfg.NC = dialNothing, &simDriver{}, closedConn
		if _, err := cfg.withDefaults(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A crash may leave any prefix of a line: what was persisted before it is there, and the log goes on.
func TestEpochsTruncatedAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	e, err := openEpochs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Persist("db", 1), e.Persist("mq", 7), e.Persist("db", 2), e.Close()); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "epochs.log")
	whole, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(log, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "epochs.json"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := openEpochs(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]uint64{"zz": 1}
		for line := range bytes.Lines(whole[:n]) {
			if app, epoch, err := readEpoch(bytes.TrimSuffix(line, []byte{'\n'})); err == nil && line[len(line)-1] == '\n' {
				want[app] = epoch
			}
		}
		if err := errors.Join(e.Persist("zz", 1), e.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := openEpochs(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.All(); !cmp.Equal(got, want) {
			t.Fatalf("cut at %d: %v, want %v", n, got, want)
		}
		_ = again.Close()
	}
}
