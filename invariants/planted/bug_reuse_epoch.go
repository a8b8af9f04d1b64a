//go:build bug_reuse_epoch

package planted

const name = "reuse_epoch"
