package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
	natsserver "github.com/go-cluster/go-cluster/transport/embedded"
)

// The test binary is also the program that is killed and stopped: with this variable it is the node of that name.
const (
	childNode = "GO_CLUSTER_TEST_NODE"
	childNATS = "GO_CLUSTER_TEST_NATS"
	childDir  = "GO_CLUSTER_TEST_DIR"
)

// child is a program with a singleton that writes a line into the common journal every millisecond while it may. A line is what it was
// let through for and when it asked, on CLOCK_BOOTTIME, which is read before it asks: a pause in between shows as a refusal.
func child(node string) {
	dir := os.Getenv(childDir)
	journal, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	p := NewPlatform("prod", node, os.Getenv(childNATS), DataDir(filepath.Join(dir, node)), Address("127.0.0.1"), LeaseTTL(3*time.Second))
	app := App("counter", Singleton())
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	app.OnActive(func(ctx context.Context) error {
		epoch, _ := Epoch(ctx)
		say("active %d", epoch)
		go func() { // and does not look at its context: only the gate ends it
			refused := false
			for {
				asked := transport.Boottime()
				err := app.Write(ctx, func(context.Context) error {
					_, err := fmt.Fprintf(journal, "%s %d %d\n", node, epoch, asked)
					return err
				})
				if errors.Is(err, ErrFenced) && !refused {
					refused = true
					say("refused %d %d", epoch, asked)
				}
				<-time.After(time.Millisecond)
			}
		}()
		return nil
	})
	if err := p.Register(app); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := p.Run(ctx); err != nil {
		say("error %v", err)
		os.Exit(1)
	}
	say("ended")
}

// program is a running child.
type program struct {
	w    *world
	node string
	cmd  *exec.Cmd

	mu    sync.Mutex
	lines []string
}

func (w *world) program(node string) *program {
	w.Helper()
	self, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	c := &program{w: w, node: node, cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), childNode+"="+node, childNATS+"="+w.srv.ClientURL(), childDir+"="+w.dir)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			c.mu.Lock()
			c.lines = append(c.lines, in.Text())
			c.mu.Unlock()
		}
	})
	w.Cleanup(func() {
		_ = c.cmd.Process.Signal(syscall.SIGKILL)
		reading.Wait()
		_ = c.cmd.Wait()
	})
	return c
}

// says waits until the program has said a line with that beginning.
func (c *program) says(prefix string) string {
	c.w.Helper()
	var found string
	c.w.idle(c.node+" says "+prefix, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, l := range c.lines {
			if strings.HasPrefix(l, prefix) {
				found = l
			}
		}
		return found != ""
	})
	return found
}

func (c *program) signal(s syscall.Signal) {
	c.w.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.w.Fatal(err)
	}
}

// tenure is when an epoch asked to write and was let through, on CLOCK_BOOTTIME.
type tenure struct {
	node        string
	epoch       uint64
	first, last time.Duration
	lines       int
}

// journal reads the common journal and fails where two epochs overlap.
func (w *world) journal() []tenure {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "journal"))
	if err != nil {
		w.Fatal(err)
	}
	var all []tenure // by epoch, from 1
	for line := range strings.Lines(string(b)) {
		var t tenure
		if _, err := fmt.Sscanf(line, "%s %d %d", &t.node, &t.epoch, &t.first); err != nil {
			w.Fatalf("journal: %q: %v", line, err)
		}
		for uint64(len(all)) < t.epoch {
			all = append(all, tenure{node: t.node, epoch: uint64(len(all) + 1), first: t.first, last: t.first})
		}
		e := &all[t.epoch-1]
		if e.node != t.node {
			w.Errorf("epoch %d is on %s and on %s", t.epoch, e.node, t.node)
		}
		e.first, e.last, e.lines = min(e.first, t.first), max(e.last, t.first), e.lines+1
	}
	for i := 1; i < len(all); i++ {
		if all[i].lines > 0 && all[i-1].lines > 0 && all[i].first <= all[i-1].last {
			w.Errorf("epochs overlap: %+v, %+v", all[i-1], all[i])
		}
	}
	return all
}

// wrote waits until an epoch has written.
func (w *world) wrote(epoch uint64) tenure {
	w.Helper()
	var found tenure
	w.idle(fmt.Sprintf("epoch %d writes", epoch), func() bool {
		for _, t := range w.journal() {
			if t.epoch == epoch && t.lines > 10 {
				found = t
				return true
			}
		}
		return false
	})
	return found
}

// Programs that are killed while active, moved, and stopped for longer than their lease: the next epoch begins only after the last
// write of the one before, and who wakes up too late is refused, whatever its goroutines do.
func TestProgramsKilledAndPaused(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes and real leases")
	}
	dir := t.TempDir()
	w := newWorld(t, dir, natsserver.Options{StoreDir: filepath.Join(dir, "nats"), Port: -1})
	programs := map[string]*program{}
	for _, node := range []string{"node-1", "node-2", "node-3"} {
		programs[node] = w.program(node)
		w.until(node+" is ready", func(v *projections.Cluster) bool {
			return v.Nodes[node] != nil && v.Nodes[node].Status == projections.StatusReady
		})
	}
	client := NewPlatform("prod", "", w.srv.ClientURL())
	t.Cleanup(client.Close)
	one := w.wrote(1)

	programs[one.node].signal(syscall.SIGKILL)
	two := w.wrote(2)
	if two.node == one.node {
		t.Fatalf("epoch 2 is on %s, which was killed", two.node)
	}
	programs[one.node] = w.program(one.node) // comes back while its lease is being ended

	if err := client.MoveApp(w.ctx, MoveRequest{App: "counter", FromNode: two.node}); err != nil {
		t.Fatal(err)
	}
	three := w.wrote(3)
	programs[two.node].says("refused 2")

	programs[three.node].signal(syscall.SIGSTOP)
	four := w.wrote(4)
	programs[three.node].signal(syscall.SIGCONT)
	programs[three.node].says("refused 3")
	w.until("the program that was paused is a node again", func(v *projections.Cluster) bool { return v.Nodes[three.node].Status == projections.StatusReady })

	programs[four.node].signal(syscall.SIGTERM) // in order: no lease is waited for
	programs[four.node].says("ended")
	five := w.wrote(5)
	if gap := five.first - four.last; gap > 3*time.Second {
		t.Logf("handed over after a graceful end in %s", gap)
	}
	for _, t := range w.journal() {
		w.Logf("epoch %d on %s: %d lines from %s to %s", t.epoch, t.node, t.lines, t.first, t.last)
	}
}
