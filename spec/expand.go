package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The variables that every process gets, besides one PortVariable for each declared port.
var fixedVariables = []string{
	"GC_ADDRESS", "GC_APP", "GC_DATA_DIR", "GC_EPOCH", "GC_INSTANCE", "GC_NATS_URL", "GC_NODE", "GC_ROLE",
}

// KnownVariables returns the names, sorted, that a spec with these ports may use.
func KnownVariables(ports map[string]int) []string {
	known := slices.Clone(fixedVariables)
	for name := range maps.Keys(ports) {
		known = append(known, PortVariable(name))
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// PortVariable names the variable that holds the number of a port: GC_PORT_HTTP for http, GC_PORT_A_B for a-b.
func PortVariable(port string) string {
	return "GC_PORT_" + strings.ToUpper(strings.ReplaceAll(port, "-", "_"))
}

// Expand replaces $GC_X and ${GC_X} by their values and $$ by $; every other $ stays as it is, for the program to read. A
// variable without a value and an unfinished ${GC_ are errors, and the result is then empty.
func Expand(s string, vars map[string]string) (string, error) {
	var (
		out   strings.Builder
		first error
	)
	scanVariables(s, func(literal string) { out.WriteString(literal) }, func(name, written string) {
		if v, found := vars[name]; found {
			out.WriteString(v)
		} else if first == nil {
			first = unknownVariable(name, written)
		}
	})
	if first != nil {
		return "", first
	}
	return out.String(), nil
}

// Variables returns the names of the variables in s, in the order of their first use.
func Variables(s string) []string {
	var names []string
	scanVariables(s, func(string) {}, func(name, _ string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	})
	return names
}

func unknownVariable(name, written string) error {
	if name == "" {
		return fmt.Errorf("variable %s: want ${NAME} with nothing else between the braces", quoteShort(written))
	}
	return fmt.Errorf("unknown variable $%s", name)
}

// scanVariables hands s over piece by piece. A malformed ${GC_… is a variable with an empty name.
func scanVariables(s string, literal func(string), variable func(name, written string)) {
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 {
			literal(s)
			return
		}
		literal(s[:i])
		s = s[i:]
		switch {
		case strings.HasPrefix(s, "$$"):
			literal("$")
			s = s[2:]
		case strings.HasPrefix(s, "$GC_"):
			n := identifier(s[1:])
			variable(s[1:1+n], s[:1+n])
			s = s[1+n:]
		case strings.HasPrefix(s, "${GC_"):
			n := identifier(s[2:])
			if len(s) > 2+n && s[2+n] == '}' {
				variable(s[2:2+n], s[:3+n])
				s = s[3+n:]
				continue
			}
			end := len(s)
			if i := strings.IndexByte(s, '}'); i >= 0 {
				end = i + 1
			}
			variable("", s[:end])
			s = s[end:]
		default:
			literal("$")
			s = s[1:]
		}
	}
}

// identifier returns how many bytes at the start of s may belong to a variable's name. Lower-case letters do: $GC_APPx is a
// name that does not exist rather than $GC_APP followed by an x.
func identifier(s string) int {
	n := 0
	for n < len(s) && (isAlnum(s[n]) || s[n] == '_') {
		n++
	}
	return n
}
