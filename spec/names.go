package spec

import (
	"fmt"
	"strconv"
)

const maxName = 63

// ValidateName reports whether s may name a cluster, a node or an app. Such a name is a DNS-1123 label, which makes it one
// subject token and one path element everywhere it travels: a bad name is refused at the door and never escaped. The kind
// ("app", "node", "cluster") only words the error.
func ValidateName(kind, s string) error {
	if isName(s) {
		return nil
	}
	return fmt.Errorf(`%s name %s: want 1 to %d characters a-z, 0-9 and "-", starting and ending with a letter or digit`,
		kind, quoteShort(s), maxName)
}

// InstanceID names the instance of an app in a slot; it stays the same when the instance moves.
func InstanceID(app string, slot int) string { return app + "-" + strconv.Itoa(slot) }

// InstanceOn names the instance of a spread app on a node.
func InstanceOn(app, node string) string { return app + "-" + node }

// IsSlot says whether s is what InstanceID puts behind an app's name.
func IsSlot(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && strconv.Itoa(n) == s
}

func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlnum(c byte) bool { return isLower(c) || isDigit(c) || 'A' <= c && c <= 'Z' }

// quoteShort quotes input for an error, cut so that a message cannot grow with what it complains about.
func quoteShort(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
