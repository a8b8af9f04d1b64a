//go:build bug_stale_order

package planted

const name = "stale_order"
