//go:build bug_metric_twice

package planted

const name = "metric_twice"
