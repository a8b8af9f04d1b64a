//go:build bug_labels_twice

package planted

const name = "labels_twice"
