//go:build bug_pending_untold

package planted

const name = "pending_untold"
