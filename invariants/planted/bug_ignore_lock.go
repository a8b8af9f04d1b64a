//go:build bug_ignore_lock

package planted

const name = "ignore_lock"
