//go:build bug_log_untold

package planted

const name = "log_untold"
