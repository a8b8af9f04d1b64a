//go:build bug_prepare_starts

package planted

const name = "prepare_starts"
