//go:build bug_loss_untold

package planted

const name = "loss_untold"
