//go:build bug_copy_behind

package planted

const name = "copy_behind"
