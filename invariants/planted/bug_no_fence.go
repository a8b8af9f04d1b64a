//go:build bug_no_fence

package planted

const name = "no_fence"
