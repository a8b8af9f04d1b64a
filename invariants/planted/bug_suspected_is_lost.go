//go:build bug_suspected_is_lost

package planted

const name = "suspected_is_lost"
