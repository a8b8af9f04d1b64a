//go:build bug_ignore_cordon

package planted

const name = "ignore_cordon"
