//go:build bug_duplicate_command

package planted

const name = "duplicate_command"
