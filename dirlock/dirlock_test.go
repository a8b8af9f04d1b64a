package dirlock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The locks of a killed process may live on for a moment in a child that it was forking; who takes that for another holder does not
// come back after a restart.
func TestLockOfTheDead(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() })
	mine, err := Take(dir, "lock", "me")
	if err != nil {
		t.Fatal(err)
	}
	var other *HeldError
	if _, err := Take(dir, "lock", "you"); !errors.As(err, &other) || other.Dir != dir || other.Who != "me" {
		t.Errorf("a second one: %v", err)
	}
	if err := mine.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Take(dir, "lock", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if raw, err := os.ReadFile(filepath.Join(dir, "lock")); string(raw) != "x\n" {
		t.Errorf("it names %q, %v", raw, err)
	}
}

func TestTakeItself(t *testing.T) {
	dir := t.TempDir()
	mine, err := TakeItself(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mine.Close() }()
	var other *HeldError
	if _, err := TakeItself(dir); !errors.As(err, &other) || other.Error() != dir+" is in use by another process" {
		t.Errorf("a second one: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in it: %v", left)
	}
	if _, err := TakeItself(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}
