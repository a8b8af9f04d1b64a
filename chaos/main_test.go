//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-cluster/go-cluster/transport/embedded"
)

var (
	all        = flag.Bool("chaos.all", false, "run everything instead of a sample")
	seed       = flag.Uint64("chaos.seed", 1, "of the sample, and of moments that are chosen at random")
	keep       = flag.Bool("chaos.keep", false, "leave the directories of failed tests behind")
	prebuilt   = flag.String("chaos.binary", "", "go-cluster binary to test instead of one that is built from this tree")
	raceBinary = flag.Bool("chaos.race", false, "build the binary with the race detector")
)

// What a process started from the test binary is, in the environment variable roleVariable.
const (
	roleVariable = "CHAOS_ROLE"
	roleNATS     = "nats"
	roleGuardian = "guardian"
)

var (
	root   string // directory of everything; its name marks our processes
	binary string // go-cluster
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleNATS:
		os.Exit(serveNATS(os.Args[1:]))
	case roleGuardian:
		os.Exit(guard(os.Args[1]))
	}
	flag.Parse()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	failed := func(err error) int {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	var err error
	if root, err = os.MkdirTemp("", "go-cluster-chaos-"); err != nil {
		return failed(err)
	}
	stop, err := startGuardian()
	if err != nil {
		return failed(err)
	}
	defer stop()
	// Neither the environment nor the contexts of whoever runs the tests may decide what our processes talk to.
	for _, name := range []string{"NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "GO_CLUSTER", "COMP_LINE"} {
		_ = os.Unsetenv(name)
	}
	_ = os.Setenv("XDG_CONFIG_HOME", filepath.Join(root, "config"))
	if err := os.Chmod(root, 0o711); err != nil {
		return failed(err)
	}
	binary = filepath.Join(root, "go-cluster")
	if err := makeBinary(); err != nil {
		return failed(err)
	}
	code := m.Run()
	if left := processesOf(root); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "chaos: processes are left:\n%s", describe(left))
		code = max(code, 1)
	}
	return code
}

// makeBinary puts the binary below root, so that whatever runs it is ours.
func makeBinary() error {
	if *prebuilt != "" {
		b, err := os.ReadFile(*prebuilt)
		if err != nil {
			return err
		}
		return os.WriteFile(binary, b, 0o755)
	}
	args := []string{"build", "-o", binary}
	if *raceBinary {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../cmd/go-cluster")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build go-cluster: %w\n%s", err, out)
	}
	return nil
}

// startGuardian starts a process that outlives this one, however it ends, and cleans up after it. stop has it do so now.
func startGuardian() (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, filepath.Base(root))
	cmd.Env = append(os.Environ(), roleVariable+"="+roleGuardian)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = life.Close()
		_ = cmd.Wait()
	}, nil
}

// guard waits until whoever started it is gone, kills what it left running and removes its directory. It takes the directory's
// name without its path, so that it is not marked as one of the processes itself.
func guard(name string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	_, _ = io.Copy(io.Discard, os.Stdin)
	dir := filepath.Join(os.TempDir(), name)
	if err := killAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	removeNamespaces(name)
	if kept, _ := filepath.Glob(filepath.Join(dir, "*", keptMark)); len(kept) > 0 {
		return 0
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	return 0
}

// serveNATS is the NATS server of one test: serveNATS(directory, port). Port 0 takes a free one. It runs until it is killed.
func serveNATS(args []string) int {
	var port int
	if _, err := fmt.Sscan(args[1], &port); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if port == 0 {
		port = -1
	}
	s, err := embedded.Start(embedded.Options{StoreDir: args[0], Host: os.Getenv(natsHostVariable), Port: port, MaxStore: 1 << 30})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(natsReady + s.ClientURL())
	select {}
}

const (
	natsReady        = "listening on "
	natsHostVariable = "CHAOS_NATS_HOST" // where the server listens; "" is 127.0.0.1
)

// dice are of one test: the same seed and name make the same numbers.
func dice(name string) *rand.Rand {
	var sum uint64
	for _, c := range []byte(name) {
		sum = sum*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(*seed, sum))
}

// pathName makes a test's name fit for a file.
func pathName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, s)
}
