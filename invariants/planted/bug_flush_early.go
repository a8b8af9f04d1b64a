//go:build bug_flush_early

package planted

const name = "flush_early"
