//go:build bug_budget_ignored

package planted

const name = "budget_ignored"
