// Package process is the driver that runs ordinary programs: without a shell, in a session and process group of their own, each
// below a watchdog process (package watchdog) that outlives the agent.
//
// # Directory
//
// All the driver knows is in one directory, which belongs to one driver at a time (flock on its lock):
//
//	lock                          held while a driver uses the directory
//	deadline                      the lease deadline of all fenced instances; the watchdogs read it
//	instances/<id>/record.json    what the agent wants of the instance, its ports, its restarts; replaced atomically and synced
//	instances/<id>/state.json     what its watchdog says: process ids with start times, boot id, exit status
//	instances/<id>/lock           held while a watchdog of the instance exists
//	instances/<id>/watchdog.log   what the watchdog itself has to say, normally nothing
//	instances/<id>/log/current    output of the app, stdout and stderr in the order written; full files are log/1, log/2, …
//	data/<id>/                    the app's data directory, GC_DATA_DIR
//
// instances/ is for the agent's user only; a data directory belongs to the app's user. Removing an instance removes its
// directory below instances/ and, if asked, its data. A log file has 10 MiB and three of them are kept for an instance.
//
// # Environment
//
// The app gets, later ones winning: the agent's environment without NATS_* and GO_CLUSTER_*; HOME, USER and LOGNAME of its user
// where that is not the agent's; env_file; env; secret_env; and the GC_ variables. The files are read at each start. Secrets go
// through a pipe to the watchdog and from there to the app; no file of the driver holds one. A NATS URL with a password in it
// is remembered without it: after a restart of the agent, Prepare or Start brings the full one back.
//
// # Life
//
// A program that ends by itself is restarted with back-off until the policy of the app gives up. One that its watchdog killed at
// the lease deadline is not: it is stopped, and the agent decides. A fenced instance starts only while the lease deadline lies
// ahead; its restart waits for one. After a reboot everything is stopped. Output of short-lived children (exec checks) is not
// logged.
//
// Picked ports come from 20000–31999, below the range from which the kernel takes local ports of outgoing connections. While an
// instance does not run, the driver keeps its picked ports bound, so that nobody else on the host gets them, other drivers
// included.
package process
