package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The locks of a killed process may live on for a moment in a child that it was forking; who takes that for another agent does not
// come back after a restart.
func TestLockOfTheDead(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "agent.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() })
	held, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("used by another agent, process %d", os.Getpid())) {
		t.Errorf("a second one: %v", err)
	}
}
