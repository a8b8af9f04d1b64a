// Package watchdog is the small process that stands between the agent and one app process. The agent starts one watchdog for
// each start of an app, by running its own binary again with a hidden sub-command; Main is that sub-command, Start is the
// agent's half.
//
// # What it does
//
// The watchdog has a session of its own, so that signals and terminals of the agent do not reach it, and it ignores TERM, INT,
// HUP, QUIT, USR1 and USR2. It is the parent of the app, which leads a second session and process group. It writes the app's
// output to log files and rotates them, keeps the app's exit status, and reaps every descendant of the app (it is their
// subreaper). When the app's main process has ended, whatever the app left behind is killed, also what moved to another group;
// then the watchdog ends. The end of the watchdog therefore means: nothing of this start is left.
//
// A fenced app is killed when CLOCK_BOOTTIME, which goes on while the machine sleeps, reaches a deadline. The deadline stands in
// one file for all apps of an agent; the agent, or the next one on the same directory, goes on extending it. A file that cannot
// be read is one that nobody extends. Other apps have no deadline and live on without an agent.
//
// # What happens when it is killed
//
// SIGKILL to the watchdog kills the app's main process too (parent death signal). That does not cover children of the main
// process; they are killed by the agent as soon as it sees the watchdog gone, or by the next agent when it adopts: its group, and
// what else has the environment that the instance was started with. Nor does it cover a program that changes its privileges at
// exec (set-uid, set-gid, file capabilities): the kernel clears the death signal there. A watchdog that is stopped (SIGSTOP) does
// not fence while it is stopped.
//
// # Files and descriptors
//
// In the directory of the instance: lock (held, by flock, as long as a watchdog for this directory exists, and by the agent
// before it forks one, so that there is never a second one), state.json (State, replaced atomically), watchdog.log (what the
// watchdog itself has to say, normally nothing) and log/ (see Log files in log.go). The launch, which contains secrets in its
// environment, comes through standard input and is never written to a file; the outcome of the start goes back through
// descriptor 3; descriptor 4 is the lock. A process is named by its id and its start time in clock ticks, valid for one boot id,
// so that a reused id is never taken for the process that had it before.
//
// Linux 5.4 or newer is required, for pidfds.
package watchdog
