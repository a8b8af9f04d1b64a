//go:build bug_no_cooldown

package planted

const name = "no_cooldown"
