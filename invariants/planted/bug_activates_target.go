//go:build bug_activates_target

package planted

const name = "activates_target"
