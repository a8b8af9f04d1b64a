//go:build bug_raw_newline

package planted

const name = "raw_newline"
