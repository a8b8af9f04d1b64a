//go:build linux

package process

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

// The test binary is also the watchdog, the apps and the agent that gets killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "watchdog":
			os.Exit(watchdog.Main(os.Args[2]))
		case "app":
			app(os.Args[2], os.Args[3:])
			os.Exit(0)
		case "agent":
			runAgent(os.Args[2])
			os.Exit(0)
		}
	}
	key, value, _ := strings.Cut(atOnce, "=")
	_ = os.Setenv(key, value)
	os.Exit(m.Run())
}

func app(kind string, args []string) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGUSR2)
	switch kind {
	case "wait":
		fmt.Println("ready")
		fmt.Println("got", <-signals)
	case "stubborn": // with a child in the group and one in a session of its own
		for _, own := range []bool{false, true} {
			child := exec.Command(os.Args[0], "app", "deaf")
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: own}
			child.Stdout = os.Stdout
			if err := child.Start(); err != nil {
				fmt.Println(err)
			}
		}
		deaf(signals)
	case "scatter": // with a child in a session of its own and one in a group of its own, neither of which has an environment
		for _, attr := range []*syscall.SysProcAttr{{Setsid: true}, {Setpgid: true}} {
			child := exec.Command(os.Args[0], "app", "mute")
			child.SysProcAttr, child.Env = attr, []string{}
			if attr.Setsid { // the other is where nothing but its session tells it
				child.Stdout = os.Stdout
			}
			if err := child.Start(); err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Println("pid", child.Process.Pid)
		}
		deaf(signals)
	case "mute":
		for range signals {
		}
	case "deaf":
		deaf(signals)
	case "leave": // ends and leaves a child
		child := exec.Command(os.Args[0], "app", "deaf")
		if err := child.Start(); err != nil {
			fmt.Println(err)
		}
		fmt.Println("child", child.Process.Pid)
		fmt.Println("got", <-signals)
	case "exit":
		fmt.Println("the reason why")
		code, _ := strconv.Atoi(args[0])
		os.Exit(code)
	case "environ": // not into the log, which is a file of the driver
		tmp := args[0] + ".new"
		_ = os.WriteFile(tmp, []byte(strings.Join(os.Environ(), "\n")), 0o600)
		_ = os.Rename(tmp, args[0])
		fmt.Println("ready")
		<-signals
	case "print":
		n, _ := strconv.Atoi(args[0])
		out := bufio.NewWriter(os.Stdout)
		for i := range n {
			fmt.Fprintf(out, "line %06d of the output\n", i)
		}
		_ = out.Flush()
		<-signals
	case "http":
		status := &atomic.Int64{}
		status.Store(200)
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
		}()
		for s := range signals {
			switch s {
			case syscall.SIGUSR1:
				status.Store(503)
			case syscall.SIGUSR2:
				status.Store(200)
			default:
				return
			}
		}
	case "tcp":
		listen := func() net.Listener {
			l, err := net.Listen("tcp", args[0])
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			return l
		}
		l := listen()
		for s := range signals {
			switch s {
			case syscall.SIGUSR1:
				_ = l.Close()
			case syscall.SIGUSR2:
				l = listen()
			default:
				return
			}
		}
	case "exists":
		if _, err := os.Stat(args[0]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

func deaf(signals <-chan os.Signal) {
	fmt.Println("pid", os.Getpid())
	for s := range signals {
		fmt.Println("ignored", s)
	}
}

// order is what the agent process of a test does: it starts the instances, says so, and waits for its end.
type order struct {
	Dir       string
	Lease     spec.Duration // from now
	Instances []agent.Instance
	Stop      string // an instance that it begins to stop
}

func runAgent(arg string) {
	var o order
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	fail(json.Unmarshal([]byte(arg), &o))
	d, err := New(Options{Dir: o.Dir, WatchdogCommand: watchdogCommand(), AllowRoot: true})
	fail(err)
	_, err = d.Adopt(context.Background())
	fail(err)
	d.Extend(watchdog.Boottime() + o.Lease.D())
	for _, i := range o.Instances {
		_, err := d.Start(context.Background(), i)
		fail(err)
	}
	if o.Stop != "" {
		in, err := d.lookup(o.Stop, false)
		fail(err)
		_, err = d.unwant(context.Background(), in, func(r *run) { d.end(in, r) })
		fail(err)
	}
	fmt.Println("started")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// A binary with the race detector sleeps a second before it exits, unless told otherwise; the watchdog has no environment to be
// told by.
const atOnce = "GORACE=atexit_sleep_ms=0"

func watchdogCommand() []string { return []string{"/usr/bin/env", atOnce, os.Args[0], "watchdog"} }
