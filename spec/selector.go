package spec

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limits of one selector.
const (
	MaxSelectorBytes = 4 << 10
	MaxSelectorTerms = 32
)

// Operator is how a term of a selector compares a label.
type Operator string

// The operators. NotEqual and NotIn also hold when the label is absent; GreaterThan and LessThan need an integer label.
const (
	Equal        Operator = "="
	NotEqual     Operator = "!="
	In           Operator = "in"
	NotIn        Operator = "notin"
	Exists       Operator = "exists"
	DoesNotExist Operator = "!"
	GreaterThan  Operator = ">"
	LessThan     Operator = "<"
)

// Term is one condition on one label. Values is empty for Exists and DoesNotExist, sorted and unique for In and NotIn, and
// one element otherwise.
type Term struct {
	Key    string
	Op     Operator
	Values []string
}

// Selector is a conjunction of terms over labels, from ParseSelector. It is immutable; its terms are sorted and unique, so two
// selectors that say the same in another order are equal. The zero value has no terms and matches everything.
type Selector struct{ terms []Term }

// Terms returns a copy of the terms, in canonical order.
func (s Selector) Terms() []Term {
	out := slices.Clone(s.terms)
	for i := range out {
		out[i].Values = slices.Clone(out[i].Values)
	}
	return out
}

// Equal reports whether both have the same terms.
func (s Selector) Equal(o Selector) bool {
	return slices.EqualFunc(s.terms, o.terms, func(a, b Term) bool { return a.compare(b) == 0 })
}

// Matches reports whether the labels satisfy every term.
func (s Selector) Matches(labels map[string]string) bool {
	for _, t := range s.terms {
		if !t.Matches(labels) {
			return false
		}
	}
	return true
}

// Failures says, for each term that does not hold, what was wanted and what is there. It is empty exactly when Matches is
// true.
func (s Selector) Failures(labels map[string]string) []string {
	var out []string
	for _, t := range s.terms {
		if !t.Matches(labels) {
			out = append(out, t.failure(labels))
		}
	}
	return out
}

// String returns the canonical form, which ParseSelector reads back to an equal selector.
func (s Selector) String() string {
	parts := make([]string, len(s.terms))
	for i, t := range s.terms {
		parts[i] = t.String()
	}
	return strings.Join(parts, ",")
}

// Matches reports whether the labels satisfy the term.
func (t Term) Matches(labels map[string]string) bool {
	v, has := labels[t.Key]
	switch t.Op {
	case Equal, In:
		return has && slices.Contains(t.Values, v)
	case NotEqual, NotIn:
		return !has || !slices.Contains(t.Values, v)
	case Exists:
		return has
	case DoesNotExist:
		return !has
	case GreaterThan, LessThan:
		have, err := strconv.ParseInt(v, 10, 64)
		want, errWant := strconv.ParseInt(t.Values[0], 10, 64)
		if !has || err != nil || errWant != nil {
			return false
		}
		return t.Op == GreaterThan && have > want || t.Op == LessThan && have < want
	}
	return false
}

// String returns the term in the grammar of ParseSelector.
func (t Term) String() string {
	switch t.Op {
	case Exists:
		return t.Key
	case DoesNotExist:
		return "!" + t.Key
	case In, NotIn:
		return t.Key + " " + string(t.Op) + " (" + strings.Join(t.Values, ",") + ")"
	}
	return t.Key + string(t.Op) + t.Values[0]
}

// Satisfy returns a value with which the term holds, or false when it holds without the label, or with none that a label can have.
func (t Term) Satisfy() (value string, set bool) {
	switch t.Op {
	case Equal, In:
		return t.Values[0], true
	case Exists:
		return "true", true
	case GreaterThan, LessThan:
		n, err := strconv.ParseInt(t.Values[0], 10, 64)
		switch {
		case err != nil, t.Op == LessThan && n <= 0, t.Op == GreaterThan && n == math.MaxInt64:
			return "", false // no label has such a value
		case t.Op == GreaterThan:
			return strconv.FormatInt(n+1, 10), true
		}
		return strconv.FormatInt(n-1, 10), true
	}
	return "", false
}

func (t Term) failure(labels map[string]string) string {
	v, has := labels[t.Key]
	found := " (no label " + t.Key + ")"
	if has {
		found = " (has " + t.Key + "=" + v + ")"
	}
	switch t.Op {
	case Exists:
		return "label " + t.Key + " missing"
	case DoesNotExist:
		return "label " + t.Key + " must be absent" + found
	case NotEqual:
		return "label " + t.Key + " must not be " + quoteEmpty(t.Values[0]) + found
	case NotIn:
		return "label " + t.Key + " must not be in (" + strings.Join(t.Values, ",") + ")" + found
	case GreaterThan, LessThan:
		if _, err := strconv.ParseInt(v, 10, 64); has && err != nil {
			found = " (has " + t.Key + "=" + v + ", not an integer)"
		}
	}
	return "label " + t.String() + " missing" + found
}

func (t Term) compare(o Term) int {
	return cmp.Or(cmp.Compare(t.Key, o.Key), cmp.Compare(t.Op, o.Op), slices.Compare(t.Values, o.Values))
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return s
}
