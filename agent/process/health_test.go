//go:build linux

package process

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/spec"
)

// awaitListening waits until the process accepts connections, or has ended.
func (h *harness) awaitListening(pid, port int) {
	h.t.Helper()
	app := handle(h.t, strconv.Itoa(pid))
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			_ = c.Close()
			return
		}
		if ended(app) {
			h.t.Fatal("the app has ended")
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			h.t.Fatal("nobody listens:", err)
		}
	}
}

func TestVerdict(t *testing.T) {
	v := verdict{healthyAfter: 2, failAfter: 3}
	for n, step := range []struct{ pass, changed, healthy bool }{
		{false, false, false},
		{true, false, false},
		{false, false, false},
		{true, false, false},
		{true, true, true},
		{true, false, true},
		{false, false, true},
		{false, false, true},
		{true, false, true},
		{false, false, true},
		{false, false, true},
		{false, true, false},
		{false, false, false},
		{true, false, false},
		{true, true, true},
	} {
		if changed := v.add(step.pass); changed != step.changed || v.healthy != step.healthy {
			t.Fatalf("step %d: changed %v, %+v", n, changed, v)
		}
	}
}

func TestHealthFlips(t *testing.T) {
	h := open(t, t.TempDir())
	flag := filepath.Join(t.TempDir(), "healthy")
	signal := func(sig syscall.Signal) func(pid int) error {
		return func(pid int) error { return syscall.Kill(pid, sig) }
	}
	makeFlag := func(int) error { return os.WriteFile(flag, nil, 0o600) }
	if err := makeFlag(0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args     []string
		health   spec.Health
		bad      func(pid int) error
		good     func(pid int) error
		complain string
	}{
		"http": {
			[]string{"http", "127.0.0.1:$GC_PORT_X"}, spec.Health{HTTP: "http://127.0.0.1:$GC_PORT_X/ok"},
			signal(syscall.SIGUSR1), signal(syscall.SIGUSR2), "/ok: status 503 Service Unavailable",
		},
		"tcp": {
			[]string{"tcp", "127.0.0.1:$GC_PORT_X"}, spec.Health{TCP: "127.0.0.1:$GC_PORT_X"},
			signal(syscall.SIGUSR1), signal(syscall.SIGUSR2), "connection refused",
		},
		"exec": {
			[]string{"wait"}, spec.Health{Exec: []string{os.Args[0], "app", "exists", flag}},
			func(int) error { return os.Remove(flag) }, makeFlag, "exit status 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := testInstance(name+"-0", c.args...)
			i.App.Ports = map[string]int{"x": 0}
			c.health.Interval, c.health.Timeout = spec.Duration(10*time.Millisecond), spec.Duration(10*time.Second)
			i.App.Health = &c.health
			if st := h.start(i); st.State != agent.StateStarting || st.Healthy {
				t.Fatalf("healthy without a check: %+v", st)
			}
			st := h.await(i.ID, "health", func(st agent.Status) bool { return st.Healthy })
			if st.State != agent.StateRunning || st.Detail != "" {
				t.Fatalf("%+v", st)
			}
			if err := c.bad(st.PID); err != nil {
				t.Fatal(err)
			}
			sick := h.await(i.ID, "sickness", func(st agent.Status) bool { return !st.Healthy })
			if sick.State != agent.StateStarting || sick.PID != st.PID ||
				!strings.Contains(sick.Detail, "unhealthy: "+name) || !strings.Contains(sick.Detail, c.complain) {
				t.Fatalf("%+v", sick)
			}
			if err := c.good(st.PID); err != nil {
				t.Fatal(err)
			}
			well := h.await(i.ID, "recovery", func(st agent.Status) bool { return st.Healthy })
			if well.State != agent.StateRunning || well.PID != st.PID || well.Detail != "" {
				t.Fatalf("%+v", well)
			}
			if st, err := h.Stop(t.Context(), i.ID); err != nil || st.State != agent.StateStopped {
				t.Fatalf("%+v, %v", st, err)
			}
		})
	}
}

func TestNeverHealthySaysWhy(t *testing.T) {
	h := open(t, t.TempDir())
	for id, c := range map[string]struct {
		health spec.Health
		want   string
	}{
		"refused-0": {spec.Health{TCP: "127.0.0.1:$GC_PORT_X"}, "connection refused"},
		"slow-0":    {spec.Health{Exec: []string{"sleep", "1000"}, Timeout: spec.Duration(20 * time.Millisecond)}, "no answer within 20ms"},
		"absent-0":  {spec.Health{Exec: []string{"no-such-program"}}, "not found on the agent's PATH"},
	} {
		i := testInstance(id, "wait")
		i.App.Ports = map[string]int{"x": 0}
		c.health.Interval = spec.Duration(10 * time.Millisecond)
		i.App.Health = &c.health
		h.start(i)
		st := h.await(id, "a reason", func(st agent.Status) bool { return st.Detail != "" })
		if st.State != agent.StateStarting || !strings.Contains(st.Detail, c.want) {
			t.Errorf("%+v", st)
		}
	}
}
