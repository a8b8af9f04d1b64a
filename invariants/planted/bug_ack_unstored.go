//go:build bug_ack_unstored

package planted

const name = "ack_unstored"
