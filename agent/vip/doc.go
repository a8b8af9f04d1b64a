// Package vip carries addresses that follow the active instance of an app: IPv4 with ARP, IPv6 with neighbour discovery, put on
// interfaces of this machine with a lifetime after which the kernel takes them off. It needs CAP_NET_ADMIN and CAP_NET_RAW.
package vip
