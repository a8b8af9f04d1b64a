//go:build bug_complete_twice

package planted

const name = "complete_twice"
