//go:build bug_no_wait

package planted

const name = "no_wait"
