//go:build bug_epoch_not_written

package planted

const name = "epoch_not_written"
