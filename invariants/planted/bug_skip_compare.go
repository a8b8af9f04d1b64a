//go:build bug_skip_compare

package planted

const name = "skip_compare"
