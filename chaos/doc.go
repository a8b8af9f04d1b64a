// Package chaos kills and stops real processes of a real cluster and looks at what is left: a NATS server, five services, three
// agents with their watchdogs, and sample apps that write down each sign of life. There is nothing here but tests.
//
// What package sim shows in virtual time is shown here of the binary: that a process which is killed or stopped at any moment is
// made up for, and that nothing ever runs twice. The time that passes is real, so an ordinary run takes a sample:
//
//	go test ./chaos                    # a sample with a fixed seed
//	go test ./chaos -chaos.all -timeout 2h -parallel 2
//	go test ./chaos -chaos.seed 7      # another sample
//	go test ./chaos -chaos.race        # with the race detector in the binary
//
// A failed test prints the end of every process's log and the history of its cluster; -chaos.keep leaves its directory behind.
package chaos
