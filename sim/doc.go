// Package sim runs whole clusters in one process and in virtual time: the real JetStream, the real five services, real agents, and
// only the programs that the agents would run are simulated (Programs). Everything lives in a testing/synctest bubble, so minutes
// of time-outs take milliseconds and no test ever waits.
package sim
