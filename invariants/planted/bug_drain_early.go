//go:build bug_drain_early

package planted

const name = "drain_early"
