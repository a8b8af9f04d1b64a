//go:build linux

package watchdog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Process names one process of this boot for ever: Start is its start time in clock ticks since boot, as the kernel counts it.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// entry is one process of the process table. The table is read here and not by a library because process identity needs the
// start time in ticks: one converted to wall-clock time changes when the clock is set.
type entry struct {
	Process
	parent, group, session int
	dead                   bool // a zombie, or less, of which no thread is left
}

// BootID identifies this boot of this machine.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// Alive reports whether p runs still. A zombie does not, unless it is only its first thread that has ended: the others may write to
// files for as long as they are there, after a kill for a moment more.
func (p Process) Alive() bool {
	e, err := readEntry(p.PID)
	return err == nil && e.Start == p.Start && !e.dead
}

// readEntry fails with fs.ErrNotExist where no process has the id.
func readEntry(pid int) (entry, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	b, err := os.ReadFile(path)
	if errors.Is(err, syscall.ESRCH) {
		err = fs.ErrNotExist // it ended between open and read
	}
	if err != nil {
		return entry{}, err
	}
	e, ok := parseStat(string(b))
	if !ok || e.PID != pid {
		return entry{}, fmt.Errorf("%s: unknown format: %q", path, b)
	}
	return e, nil
}

// parseStat reads a line of /proc/<pid>/stat. The second field, the name in parentheses, may hold anything, also ") ".
func parseStat(line string) (entry, bool) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 1 || end < open {
		return entry{}, false
	}
	rest := strings.Fields(line[end+1:]) // from field 3, the state
	if len(rest) < 20 {
		return entry{}, false
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(line[:open]))
	parent, err2 := strconv.Atoi(rest[1])
	group, err3 := strconv.Atoi(rest[2])
	session, err4 := strconv.Atoi(rest[3])
	threads, err5 := strconv.Atoi(rest[17])
	start, err6 := strconv.ParseUint(rest[19], 10, 64)
	return entry{
		Process: Process{PID: pid, Start: start},
		parent:  parent, group: group, session: session,
		dead: rest[0] == "Z" && threads <= 1 || strings.ContainsAny(rest[0], "Xx"),
	}, errors.Join(err1, err2, err3, err4, err5, err6) == nil
}

// table reads all processes. It is no snapshot: processes come and go while it reads.
func table() ([]entry, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		e, err := readEntry(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// descendants picks the live processes below pid.
func descendants(all []entry, pid int) []Process {
	children := map[int][]entry{}
	for _, e := range all {
		children[e.parent] = append(children[e.parent], e)
	}
	var below []Process
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, e := range children[queue[0]] {
			if !e.dead {
				below = append(below, e.Process)
			}
			queue = append(queue, e.PID)
		}
		delete(children, queue[0]) // a process id is visited once, whatever the table says
	}
	return below
}

// group picks the live processes of the group that leader founded. An id whose present owner is another process than leader
// belongs to a stranger, and so does its group. Where the leader is gone, members are told by its session, which it founded too,
// and by having started after it.
func group(all []entry, leader Process) []Process {
	var members []Process
	for _, e := range all {
		if e.PID == leader.PID && e.Start != leader.Start {
			return nil
		}
		if !e.dead && e.group == leader.PID && e.session == leader.PID && e.Start >= leader.Start {
			members = append(members, e.Process)
		}
	}
	return members
}
