// Package machine measures the machine that an agent runs on.
package machine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Facts says what this machine has. A container's CPU limit counts, as the runtime sees it; its memory limit does not.
func Facts(version string, drivers ...string) (events.Facts, error) {
	m, err := mem.VirtualMemory()
	if err != nil {
		return events.Facts{}, fmt.Errorf("memory of this machine: %w", err)
	}
	return events.Facts{
		Version: version, CPU: spec.CPU(1000 * runtime.GOMAXPROCS(0)), Memory: spec.Bytes(m.Total),
		OS: runtime.GOOS, Arch: runtime.GOARCH, Drivers: drivers,
	}, nil
}

// Load measures how busy this machine is, at most once a second however often it is asked. It is safe for concurrent use.
type Load struct {
	mu    sync.Mutex
	at    time.Time
	times cpu.TimesStat
	load  api.Load
}

// Now returns the CPU time used since the measurement before this one, and the memory in use. What cannot be measured keeps its
// last value.
func (l *Load) Now() api.Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && time.Since(l.at) < time.Second {
		return l.load
	}
	if m, err := mem.VirtualMemory(); err == nil && m.Total > 0 {
		l.load.Memory = 1 - float64(m.Available)/float64(m.Total)
	}
	if t, err := totalTimes(); err == nil {
		if all, idle := sum(t)-sum(l.times), idle(t)-idle(l.times); !l.at.IsZero() && all > 0 {
			l.load.CPU = min(1, max(0, 1-idle/all))
		}
		l.times = t
	}
	l.at = time.Now()
	return l.load
}

func totalTimes() (cpu.TimesStat, error) {
	all, err := cpu.Times(false)
	if err == nil && len(all) == 0 {
		err = errors.New("no processor is listed")
	}
	if err != nil {
		return cpu.TimesStat{}, err
	}
	return all[0], nil
}

// sum leaves guest times out: the kernel counts them into user and nice as well.
func sum(t cpu.TimesStat) float64 {
	return t.User + t.System + t.Idle + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal
}

func idle(t cpu.TimesStat) float64 { return t.Idle + t.Iowait }
