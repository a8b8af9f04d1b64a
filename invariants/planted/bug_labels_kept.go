//go:build bug_labels_kept

package planted

const name = "labels_kept"
