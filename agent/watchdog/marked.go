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

// KillLeft kills every process that is left of an app which has lost its watchdog, and returns when none is or ctx ends. Its parent is process 1,
// which may be this one, so that three other things say whose a process is: it is in the session of the app; it writes to the pipe that the app was
// given for its output; or its environment has all of the marks, each "NAME=value", and no variable called unless. A process is not found that
// has moved to another session, closed its output and cleared its environment, or that belongs to somebody whose processes we may not look at.
func KillLeft(ctx context.Context, st State, unless string, marks ...string) error {
	for {
		all, err := table()
		if err != nil {
			return err
		}
		session := !slices.ContainsFunc(all, func(e entry) bool { return e.PID == st.App.PID && e.Start != st.App.Start }) // else its id is a stranger's
		found := false
		for _, e := range all {
			since := st.App.PID != 0 && e.Start >= st.App.Start
			if e.dead || e.PID == os.Getpid() ||
				!(since && session && e.session == st.App.PID || since && st.writes(e.PID) || marked(e.PID, unless, marks)) {
				continue
			}
			found = true
			if err := killAndWait(ctx, e.Process); err != nil {
				return fmt.Errorf("kill what is left of %s: %w", strings.Join(marks, " and "), err)
			}
		}
		if !found { // what was forked meanwhile is found by the next look
			return nil
		}
	}
}

// writes says whether a process has the app's output for its own.
func (st State) writes(pid int) bool {
	if st.Output == 0 {
		return false
	}
	pipe := fmt.Sprintf("pipe:[%d]", st.Output)
	return slices.ContainsFunc([]string{"1", "2"}, func(fd string) bool {
		to, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/fd/" + fd)
		return err == nil && to == pipe
	})
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
