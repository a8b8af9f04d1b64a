//go:build bug_approval_unasked

package planted

const name = "approval_unasked"
