// Command go-cluster moves running apps between the nodes of a cluster and shows what happens meanwhile. The same binary holds
// the services and the node agent.
package main

import "os"

func main() { os.Exit(run(interruptible(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
