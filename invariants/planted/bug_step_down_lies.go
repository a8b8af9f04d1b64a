//go:build bug_step_down_lies

package planted

const name = "step_down_lies"
