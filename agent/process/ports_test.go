//go:build linux

package process

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent"
)

func dupWithoutCloexec(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func formatID(a account) string { return fmt.Sprintf("%d:%d", a.uid, a.gid) }

func withPorts(i agent.Instance, ports map[string]int) agent.Instance {
	i.App.Ports = ports
	return i
}

func TestPickedPortsAreExclusiveAndStable(t *testing.T) {
	dir := t.TempDir()
	h, other := open(t, dir), open(t, t.TempDir()) // two agents on one host
	const count = 20
	var mu sync.Mutex
	owner := map[int]string{}
	ports := map[string]int{}
	var wg sync.WaitGroup
	for n := range count {
		for name, d := range map[string]*harness{"a": h, "b": other} {
			wg.Go(func() {
				id := fmt.Sprintf("web-%d", n)
				st, err := d.Prepare(t.Context(), withPorts(testInstance(id, "wait"), map[string]int{"http": 0, "rpc": 0}))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for port, number := range st.Ports {
					if owner[number] != "" {
						t.Errorf("port %d: %s and %s", number, owner[number], name+id)
					}
					owner[number] = name + id
					ports[name+id+port] = number
				}
			})
		}
	}
	wg.Wait()
	if len(owner) != 4*count {
		t.Fatalf("%d ports", len(owner))
	}
	// Nobody else on the host gets one meanwhile.
	if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(ports["aweb-0http"])); err == nil {
		_ = l.Close()
		t.Error("a reserved port could be taken")
	}
	again, err := h.Prepare(t.Context(), withPorts(testInstance("web-0", "wait"), map[string]int{"http": 0, "more": 0}))
	if err != nil || again.Ports["http"] != ports["aweb-0http"] || owner[again.Ports["more"]] != "" || len(again.Ports) != 2 {
		t.Fatalf("%+v, %v", again, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	for n := 1; n < count; n++ {
		st, ok := h.Status(fmt.Sprintf("web-%d", n))
		if !ok || st.Ports["http"] != ports[fmt.Sprintf("aweb-%dhttp", n)] {
			t.Fatalf("after a restart of the agent: %+v", st)
		}
	}
	if err := h.Remove("web-1", false); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(ports["aweb-1http"]))
	if err != nil {
		t.Fatal("not released by Remove:", err)
	}
	_ = l.Close()
}

func TestAppGetsItsPickedPortAtEachStart(t *testing.T) {
	h := open(t, t.TempDir())
	i := withPorts(testInstance("web-0", "http", "127.0.0.1:$GC_PORT_HTTP"), map[string]int{"http": 0})
	var port int
	for range 3 {
		st := h.start(i)
		if port != 0 && st.Ports["http"] != port {
			t.Fatalf("port %d, was %d", st.Ports["http"], port)
		}
		port = st.Ports["http"]
		h.awaitListening(st.PID, port)
		// A connection that lingers on the port does not hold up the next start.
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Stop(t.Context(), "web-0"); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
}

func TestTakenPorts(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().(*net.TCPAddr).Port
	fixed := withPorts(testInstance("fixed-0", "wait"), map[string]int{"http": taken})
	_, err = h.Start(t.Context(), fixed)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port http: %d on 127.0.0.1 is used by another program", taken)) {
		t.Fatal(err)
	}
	_ = l.Close()
	h.start(fixed)
	second := withPorts(testInstance("fixed-1", "wait"), map[string]int{"web": taken})
	_, err = h.Start(t.Context(), second)
	if err == nil || !strings.Contains(err.Error(), "is used by instance fixed-0") {
		t.Fatal(err)
	}

	// A picked port that a stranger took while no agent ran is replaced: the app asked for any.
	st, err := h.Prepare(t.Context(), withPorts(testInstance("web-0", "wait"), map[string]int{"http": 0}))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Kill("fixed-0"); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	stranger, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(st.Ports["http"]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	h = open(t, dir)
	now := h.start(withPorts(testInstance("web-0", "wait"), map[string]int{"http": 0}))
	if now.Ports["http"] == st.Ports["http"] || now.Ports["http"] == 0 {
		t.Fatalf("%+v", now)
	}
}
