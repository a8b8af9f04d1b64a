//go:build bug_freeze_ignored

package planted

const name = "freeze_ignored"
