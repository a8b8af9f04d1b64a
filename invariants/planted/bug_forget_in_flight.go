//go:build bug_forget_in_flight

package planted

const name = "forget_in_flight"
