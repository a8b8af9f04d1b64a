package spec

import "strings"

// nearest returns the candidate that s is most likely a slip of, or "" when none is close: at most two wrong letters, and
// fewer than half of them. Case and the choice between "-" and "_" do not count.
func nearest(s string, candidates []string) string {
	best, least := "", 3
	s = foldName(s)
	for _, c := range candidates {
		if d := editDistance(s, foldName(c)); d < least && 2*d < len(c) {
			best, least = c, d
		}
	}
	return best
}

func foldName(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// editDistance counts the inserted, deleted and replaced bytes and the swapped neighbours between a and b. Texts that differ
// much in length are not worth the table and count as far apart.
func editDistance(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return max(len(a), len(b))
	}
	var older []int
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current := make([]int, len(b)+1)
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], older[j-2]+1)
			}
		}
		older, previous = previous, current
	}
	return previous[len(b)]
}
