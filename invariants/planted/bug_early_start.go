//go:build bug_early_start

package planted

const name = "early_start"
