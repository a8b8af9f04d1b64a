//go:build bug_too_many

package planted

const name = "too_many"
