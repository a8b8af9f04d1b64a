package main

import "testing"

func TestReadable(t *testing.T) {
	for sentence, want := range map[string]string{
		"needs memory 100Gi, 24684096Ki of 24684096Ki free":       "needs memory 100Gi, 23.5Gi of 23.5Gi free",
		"needs memory 2048Mi, 1048576Ki of 24684096Ki free":       "needs memory 2Gi, 1Gi of 23.5Gi free",
		"needs memory 24684097Ki, 24684096Ki of 24684096Ki free":  "needs memory 24684097Ki, 24684096Ki of 24684096Ki free",
		"needs memory 23.5Gi, 24684096Ki of 24684096Ki free":      "needs memory 23.5Gi, 24684096Ki of 24684096Ki free",
		"label disk=4096Kibi missing (has disk=9999999999999999)": "label disk=4096Kibi missing (has disk=9999999999999999)",
		"512Mi wanted": "512Mi wanted",
		"":             "",
	} {
		if got := readable(sentence); got != want {
			t.Errorf("%q:\n%q, want\n%q", sentence, got, want)
		}
	}
}
