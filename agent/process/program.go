//go:build linux

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

// program is what there is to know to run a command for an instance: the app itself, or an exec check next to it.
type program struct {
	path string
	args []string
	env  []string
	dir  string
	id   identity
}

// program resolves command for the instance as it is recorded; it reads the files with its environment.
func (d *Driver) program(in *instance, command []string) (program, error) {
	i := in.rec.Instance
	id, err := identify(i.App.Execution, os.Geteuid(), d.opts.AllowRoot)
	if err != nil {
		return program{}, err
	}
	vars := d.vars(in)
	p := program{id: id, dir: vars["GC_DATA_DIR"]}
	if i.App.Cwd != "" {
		cwd, err := spec.Expand(i.App.Cwd, vars)
		if err != nil {
			return program{}, fmt.Errorf("cwd: %w", err)
		}
		if !filepath.IsAbs(cwd) {
			cwd = filepath.Join(p.dir, cwd)
		}
		p.dir = cwd
	}
	if info, err := os.Stat(p.dir); err != nil {
		return program{}, fmt.Errorf("cwd: %w", err)
	} else if !info.IsDir() {
		return program{}, fmt.Errorf("cwd: %s is not a directory", p.dir)
	}
	for n, arg := range command {
		expanded, err := spec.Expand(arg, vars)
		if err != nil {
			return program{}, fmt.Errorf("command argument %d: %w", n, err)
		}
		if strings.ContainsRune(expanded, 0) {
			return program{}, fmt.Errorf("command argument %d holds a zero byte", n)
		}
		p.args = append(p.args, expanded)
	}
	if p.path, err = findProgram(p.args[0], p.dir); err != nil {
		return program{}, err
	}
	p.env, err = environment(os.Environ(), id.env, i.App, vars)
	return p, err
}

func (d *Driver) vars(in *instance) map[string]string {
	return variables(in.rec.Instance, in.rec.Ports, d.DataDir(in.id))
}

// findProgram looks a name without "/" up on the agent's PATH, also where the app has another one. Whether a file may be executed
// by the app's user is found out by executing it.
func findProgram(name, dir string) (string, error) {
	if !strings.Contains(name, "/") {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("command %s: not found on the agent's PATH: %w", name, errors.Unwrap(err))
		}
		return path, nil
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("command %s: no such file", path)
	case err != nil:
		return "", fmt.Errorf("command: %w", err)
	case info.IsDir():
		return "", fmt.Errorf("command %s: is a directory", path)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("command %s: is not executable", path)
	}
	return path, nil
}

// launch turns the app's program into an order for its watchdog.
func (d *Driver) launch(p program, i agent.Instance) (watchdog.Launch, error) {
	l := watchdog.Launch{
		Path: p.path, Args: p.args, Dir: p.dir,
		Credential: p.id.credential,
		Log:        d.opts.LogLimits,
	}
	for _, kv := range p.env {
		l.Env = append(l.Env, []byte(kv))
	}
	if i.Fenced {
		deadline, ahead, _ := d.leased()
		if !ahead {
			return watchdog.Launch{}, errNoLease
		}
		l.Fence = &watchdog.Fence{File: filepath.Join(d.opts.Dir, "deadline"), DeadlineNS: int64(deadline)}
	}
	return l, nil
}

var errNoLease = errors.New("no lease: a fenced instance starts only while its deadline, set by Extend, lies ahead")

// parseSignal understands the stop signals of a spec, with or without SIG.
func parseSignal(name string) (unix.Signal, error) {
	switch strings.TrimPrefix(name, "SIG") {
	case "TERM":
		return unix.SIGTERM, nil
	case "INT":
		return unix.SIGINT, nil
	case "QUIT":
		return unix.SIGQUIT, nil
	case "HUP":
		return unix.SIGHUP, nil
	case "USR1":
		return unix.SIGUSR1, nil
	case "USR2":
		return unix.SIGUSR2, nil
	case "KILL":
		return unix.SIGKILL, nil
	}
	return 0, fmt.Errorf("stop_signal %q: want TERM, INT, QUIT, HUP, USR1, USR2 or KILL", name)
}
