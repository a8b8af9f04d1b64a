//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/go-cluster/go-cluster/dirlock"
)

// devHome is the directory of one dev cluster:
//
//	nats/            streams of the server in this process
//	nodes/<id>/      agent of a node and its apps' data
//	bin/go-cluster   this binary, on the PATH of the sample apps
//	counter.journal  numbers of the sample counter; all nodes share it
type devHome struct {
	dir       string // absolute
	temporary bool
	lock      *os.File
}

// openDevHome takes a directory for this process; "" is a new one in the system's temporary directory.
func openDevHome(dir string) (*devHome, error) {
	h := &devHome{dir: dir, temporary: dir == ""}
	var err error
	if h.temporary {
		h.dir, err = os.MkdirTemp("", "go-cluster-dev-")
	} else if h.dir, err = filepath.Abs(dir); err == nil {
		err = makeNodeDir(h.dir)
	}
	if err != nil {
		return nil, fail(exitUsage, "data directory: %w", err)
	}
	if err := h.prepare(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *devHome) prepare() error {
	if h.temporary { // apps that run as other users pass through
		if err := os.Chmod(h.dir, 0o711); err != nil {
			return err
		}
	}
	var err error
	if h.lock, err = dirlock.TakeItself(h.dir); err != nil {
		var held *dirlock.HeldError
		if errors.As(err, &held) {
			return fail(exitUsage, "%s is used by another go-cluster dev", h.dir).try("stop the other, or go-cluster dev --data-dir ANOTHER")
		}
		return fail(exitUsage, "data directory: %w", err)
	}
	return h.installSelf()
}

// installSelf puts this binary on the PATH of everything that the nodes start, under a name that stays the same at the next start:
// the specs of the sample apps name no path.
func (h *devHome) installSelf() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(h.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	next := filepath.Join(bin, ".go-cluster")
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(self, next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(bin, "go-cluster")); err != nil {
		return err
	}
	return os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

func (h *devHome) nats() string           { return filepath.Join(h.dir, "nats") }
func (h *devHome) node(id string) string  { return filepath.Join(h.dir, "nodes", id) }
func (h *devHome) counterJournal() string { return filepath.Join(h.dir, "counter.journal") }

// close gives the directory back and removes a temporary one.
func (h *devHome) close() {
	if h.temporary {
		_ = os.RemoveAll(h.dir)
	}
	if h.lock != nil {
		_ = h.lock.Close()
	}
}
