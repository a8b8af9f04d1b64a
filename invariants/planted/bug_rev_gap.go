//go:build bug_rev_gap

package planted

const name = "rev_gap"
