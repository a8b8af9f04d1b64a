//go:build bug_standby_beside

package planted

const name = "standby_beside"
