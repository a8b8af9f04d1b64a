package main

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/go-cluster/go-cluster/spec"
)

// memory rounds an amount that a machine has to what a person reads.
func memory(n spec.Bytes) string {
	f, unit := float64(n), 0
	units := []string{"", "Ki", "Mi", "Gi", "Ti"}
	for ; f >= 1024 && unit < len(units)-1; unit++ {
		f /= 1024
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") + units[unit]
}

var longAmount = regexp.MustCompile(`\b[0-9]{4,15}(Ki|Mi)\b`)

// readable rounds the amounts of memory in a sentence: 24684096Ki is 23.5Gi. When that would make two different amounts look
// alike, it leaves the sentence as it is: the difference is what the reader looks for.
func readable(sentence string) string {
	exact := map[string]string{} // by what is shown
	for _, amount := range longAmount.FindAllString(sentence, -1) {
		short := rounded(amount)
		if before, taken := exact[short]; taken && before != amount || strings.Contains(longAmount.ReplaceAllString(sentence, ""), short) {
			return sentence
		}
		exact[short] = amount
	}
	return longAmount.ReplaceAllStringFunc(sentence, rounded)
}

func rounded(amount string) string {
	unit := spec.Bytes(1 << 10)
	if strings.HasSuffix(amount, "Mi") {
		unit = 1 << 20
	}
	n, err := strconv.ParseInt(amount[:len(amount)-2], 10, 64)
	if err != nil || n > 1<<40 {
		return amount
	}
	return memory(spec.Bytes(n) * unit)
}
