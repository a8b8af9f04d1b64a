package wal

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap/zaptest"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/replicationtest"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport/embedded/servertest"
)

// A log keeps the contract that databases keep.
func TestContract(t *testing.T) {
	replicationtest.Run(t, leftOut(), func(t *testing.T) replicationtest.Kind {
		nc, _, _ := servertest.Cluster(t)
		return &lab{nc: nc, ends: map[string]*end{}}
	})
}

// lab is machines on one NATS server.
type lab struct {
	nc   *nats.Conn
	ends map[string]*end // by machine: what its program has, which outlives its agents
}

// end is a machine's end of the log.
type end struct {
	log   *Log
	state *numbers
}

// Machine implements replicationtest.Kind.
func (l *lab) Machine(t *testing.T, name string) (agent.Replication, agent.Data) {
	t.Helper()
	e := l.ends[name]
	if e == nil {
		e = &end{state: &numbers{}}
		l.ends[name] = e
		var err error
		e.log, err = Open(t.Context(), Config{NC: l.nc, Cluster: "test", App: "ledger", State: e.state, SnapshotEvery: 7, Log: zaptest.NewLogger(t).Named(name)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			e.log.Wait()
			e.log.drop()
		})
	}
	return NewReplication(func(context.Context, string) (*Log, error) { return e.log, nil }), agent.Data{App: spec.App{Name: "ledger"}, Instance: "ledger-0", Dir: name}
}

// leftOut says which parts of the contract make no sense here, and why.
func leftOut() map[string]string {
	all := "what is acknowledged is stored: there is nothing that is not shipped"
	return map[string]string{
		replicationtest.FromZero:    "that an epoch has begun is a record, which positions count",
		replicationtest.OnlyShipped: all,
		replicationtest.SetAside:    all,
		replicationtest.Forgotten:   "epochs are parts of one history: the newest rests on those before it",
	}
}

// Open implements replicationtest.Kind.
func (l *lab) Open(_ *testing.T, d agent.Data) replicationtest.App { return writer{l.ends[d.Dir]} }

// writer appends numbers under the epoch that its machine leads.
type writer struct{ *end }

func (w writer) append(t *testing.T, epoch uint64, n int) error {
	t.Helper()
	_, err := w.log.Append(context.WithoutCancel(t.Context()), epoch, []byte(strconv.Itoa(n)))
	return err
}

// Write implements replicationtest.App.
func (w writer) Write(t *testing.T, n int) {
	t.Helper()
	epoch, _ := w.log.Applied()
	if err := w.append(t, epoch, n); err != nil {
		t.Errorf("append %d: %v", n, err)
	}
}

// Late implements replicationtest.App.
func (w writer) Late(t *testing.T, n int) bool { t.Helper(); return w.append(t, 1, n) == nil }

// Numbers implements replicationtest.App.
func (w writer) Numbers(t *testing.T) (all []int) {
	t.Helper()
	all = []int{}
	if err := w.log.View(func() { all = append(all, w.state.all...) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// Close implements replicationtest.App.
func (w writer) Close(*testing.T) {}

// Kill implements replicationtest.App.
func (w writer) Kill(*testing.T) {}

// numbers is a state that remembers every number, in order.
type numbers struct{ all []int }

func (s *numbers) Apply(_ uint64, record []byte) error {
	n, err := strconv.Atoi(string(record))
	s.all = append(s.all, n)
	return err
}

func (s *numbers) Snapshot(w io.Writer) error {
	_, err := fmt.Fprint(w, strings.Trim(fmt.Sprint(s.all), "[]"))
	return err
}

func (s *numbers) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.all = nil
	for _, f := range strings.Fields(string(b)) {
		if err = s.Apply(0, []byte(f)); err != nil {
			return err
		}
	}
	return err
}
