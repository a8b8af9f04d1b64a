//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestNodeDirIsMadeForAllUsers(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "var", "node-1")
	for range 2 {
		if err := makeNodeDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{filepath.Join(top, "var"), dir} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: %v, %v", d, info, err)
		}
	}
}

// /proc says of what cannot be made there that it does not exist, although what it would be in does.
func TestNodeDirThatCannotBe(t *testing.T) {
	for _, dir := range []string{"/proc/x", "/proc/x/y"} {
		var at *os.PathError
		if err := makeNodeDir(dir); !errors.As(err, &at) || at.Path != "/proc/x" {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
