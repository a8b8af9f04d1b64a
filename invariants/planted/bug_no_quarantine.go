//go:build bug_no_quarantine

package planted

const name = "no_quarantine"
