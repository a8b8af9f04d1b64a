//go:build linux

package watchdog

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// KillMarked kills every process whose environment has all of the marks, each "NAME=value", and no variable called unless, and returns when none
// is left or ctx ends. It is for what moved out of its group and has lost its watchdog: nothing but its environment says then whose it is, since
// its parent is process 1, which may be this one. A process that has cleared its environment, or that belongs to somebody whose processes we may
// not look at, is not found.
func KillMarked(ctx context.Context, unless string, marks ...string) error {
	for {
		all, err := table()
		if err != nil {
			return err
		}
		found := false
		for _, e := range all {
			if e.dead || e.PID == os.Getpid() || !marked(e.PID, unless, marks) {
				continue
			}
			found = true
			if err := killAndWait(ctx, e.Process); err != nil {
				return fmt.Errorf("kill what has %s: %w", strings.Join(marks, " and "), err)
			}
		}
		if !found { // what was forked meanwhile is found by the next look
			return nil
		}
	}
}

// marked says whether the environment that a process began with has all of the marks, and not the variable.
func marked(pid int, unless string, marks []string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil { // it has ended, or is none of our business
		return false
	}
	env := strings.Split(string(b), "\x00")
	return len(marks) > 0 && !slices.ContainsFunc(marks, func(m string) bool { return !slices.Contains(env, m) }) &&
		!slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, unless+"=") })
}
