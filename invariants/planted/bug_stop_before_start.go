//go:build bug_stop_before_start

package planted

const name = "stop_before_start"
