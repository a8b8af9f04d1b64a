//go:build bug_window_ignored

package planted

const name = "window_ignored"
