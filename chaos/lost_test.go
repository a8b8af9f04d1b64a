//go:build linux

package chaos

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// A node is lost with entries that it acknowledged and nobody has shipped. When it is back it says what it has, where the takeover went on
// without it, and nothing that comes later writes over that.
func TestDataFoundAgain(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	from := c.applyLedger(app)
	to := other(from)
	w := c.writer(app, "a")
	w.more()
	until(t, "something has been shipped", limit, func() bool {
		for _, in := range ask[api.AppDetail](c, "app", "show", app).Instances {
			if in.Data != nil && in.Data.Position != "" && !strings.HasSuffix(in.Data.Position, ":0") {
				return true
			}
		}
		return false
	})
	began := c.seq()
	agent := c.proc("agent-" + from)
	if err := agent.signal(syscall.SIGSTOP); err != nil { // nothing is shipped any more
		t.Fatal(err)
	}
	w.more()
	for _, a := range c.living(app) {
		_ = syscall.Kill(a.pid, syscall.SIGKILL)
	}
	agent.kill()
	c.until("the app has been taken over", limit, func(v *projections.Cluster) bool {
		return runs(v, app) && v.Apps[app].Instances[app+"-0"].Node == to
	})
	w.more()
	c.restart(agent)
	found := c.told(began)
	if found.Node != from || found.Bytes == 0 || found.From == "" {
		t.Errorf("%+v", found)
	}
	if st, err := os.Stat(found.Aside); err != nil || st.Size() == 0 {
		t.Errorf("set aside: %v", err)
	}
	if shown := c.must("app", "show", app).out; !strings.Contains(shown, "data lost: "+from+" led epoch") || !strings.Contains(shown, found.Aside) {
		t.Errorf("app show:\n%s", shown)
	}
	c.until("the node is back", limit, func(v *projections.Cluster) bool { return ready(v, "n1", "n2") })
	c.moveLedger(app, to, from)
	w.more()
	if _, err := os.Stat(found.Aside); err != nil {
		t.Errorf("after the app has moved back: %v", err)
	}
	n := 0
	for _, e := range c.stored(began) {
		if _, is := e.Data.(*events.DataLost); is {
			n++
		}
	}
	if n != 1 {
		t.Errorf("told %d times", n)
	}
	c.audits(app, true, w)
}

// told waits until it is told that data were lost, in the events behind a sequence.
func (c *cluster) told(since uint64) (found *events.DataLost) {
	c.t.Helper()
	until(c.t, "what was lost is told", limit, func() bool {
		for _, e := range c.stored(since) {
			if d, is := e.Data.(*events.DataLost); is {
				found = d
			}
		}
		return found != nil
	})
	return found
}

// fill puts some bytes into the ledger's database beside its entries, on the node that has it.
func (c *cluster) fill(app, node string, size int) {
	c.t.Helper()
	db, err := sql.Open("sqlite", "file:"+c.database(app, node)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range []string{"CREATE TABLE filler (x BLOB)", fmt.Sprintf("INSERT INTO filler VALUES (randomblob(%d))", size)} {
		if _, err := db.ExecContext(c.t.Context(), s); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// filled is fill, and moves the app away, so that the bytes are in the file itself and shipped from there.
func (c *cluster) filled(app, from, to string, size int) {
	c.t.Helper()
	c.fill(app, from, size)
	c.moveLedger(app, from, to)
	until(c.t, "it is shipped from there", limit, func() bool { p := c.dataOn(app, to); return p.Epoch > 1 && p.Seq > 0 })
}

func (c *cluster) database(app, node string) string {
	return filepath.Join(c.dir, "nodes", node, "process", "data", app+"-0", "ledger.db")
}

// flip is a byte that is not what it was.
type flip struct {
	at int64
	is byte
}

// turn flips a bit of a database somewhere after a place, behind the back of everybody who has it open.
func turn(t *testing.T, path string, after int64) flip {
	t.Helper()
	at := after/4096*4096 + 2048
	b := byteAt(t, path, at) ^ 1
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteAt([]byte{b}, at); err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return flip{at, b}
}

func byteAt(t *testing.T, path string, at int64) byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// What was shipped of a small database is not what is on the source's disk: that is found out before the commit, and the target gets what is
// there.
func TestSmallDataDiffer(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, calm, "n1", "n2")
	from := c.applyLedger(app)
	to := other(from)
	w := c.writer(app, "a")
	w.more()
	c.filled(app, from, to, 400_000)
	w.more()
	turned := turn(t, c.database(app, to), 200_000)
	c.moveLedger(app, to, from)
	w.more()
	if b := byteAt(t, c.database(app, from), turned.at); b != turned.is {
		t.Errorf("at %d the source had %x, the target has %x", turned.at, turned.is, b)
	}
	if log, err := os.ReadFile(filepath.Join(c.dir, "agent-"+to+".log")); err != nil || !strings.Contains(string(log), "all of it is shipped anew") {
		t.Errorf("the source's agent does not say that it has shipped everything anew: %v", err)
	}
	c.audits(app, false, w)
}

// What was shipped of a large database is not what is on the source's disk, which is read after the commit: it is set aside and told, where the
// source stays as a standby as well as where it does not.
func TestLargeDataDiffer(t *testing.T) {
	for name, spec := range map[string]string{"standby": standbyOf, "gone": ledgerSpec} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const app = "ledger"
			c := start(t, calm, "n1", "n2")
			c.apply(app, fmt.Sprintf(spec, app, binary, c.journal(app)))
			from := c.on(app)[0]
			to := other(from)
			w := c.writer(app, "a")
			w.more()
			c.filled(app, from, to, 12<<20)
			from, to = to, from
			w.more()
			began := c.seq()
			turn(t, c.database(app, from), 6<<20)
			c.moveLedger(app, from, to)
			found := c.told(began)
			if st, err := os.Stat(found.Aside); err != nil || st.Size() < 12<<20 || found.Node != from || found.Epoch != 2 {
				t.Errorf("%+v: %v", found, err)
			}
			if shown := c.must("app", "show", app).out; !strings.Contains(shown, found.Aside) {
				t.Errorf("app show:\n%s", shown)
			}
			w.more()
			c.audits(app, false, w)
		})
	}
}
