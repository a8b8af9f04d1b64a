package spec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSelector(t *testing.T) {
	has := map[string]string{"role": "compute", "zone": "a", "gpu": "1", "disk": "ssd", "empty": ""}
	tests := []struct {
		in, canonical string
		failures      []string
	}{
		{"role=compute", "role=compute", nil},
		{" role == compute , zone in(b, a,a) ", "role=compute,zone in (a,b)", nil},
		{"zone in (a),role=compute,zone in (a)", "role=compute,zone in (a)", nil},
		{"role=storage", "role=storage", []string{"label role=storage missing (has role=compute)"}},
		{"tier=x", "tier=x", []string{"label tier=x missing (no label tier)"}},
		{"!gpu", "!gpu", []string{"label gpu must be absent (has gpu=1)"}},
		{"! tier", "!tier", nil},
		{"tier", "tier", []string{"label tier missing"}},
		{"tier!=x", "tier!=x", nil},
		{"zone!=a", "zone!=a", []string{"label zone must not be a (has zone=a)"}},
		{"tier notin (x)", "tier notin (x)", nil},
		{"zone notin (b,a)", "zone notin (a,b)", []string{"label zone must not be in (a,b) (has zone=a)"}},
		{"zone in (b,c)", "zone in (b,c)", []string{"label zone in (b,c) missing (has zone=a)"}},
		{"gpu>0,gpu<2", "gpu<2,gpu>0", nil},
		{"gpu > 01", "gpu>1", []string{"label gpu>1 missing (has gpu=1)"}},
		{"disk<3", "disk<3", []string{"label disk<3 missing (has disk=ssd, not an integer)"}},
		{"tier>3", "tier>3", []string{"label tier>3 missing (no label tier)"}},
		{"empty=", "empty=", nil},
		{"empty!=", "empty!=", []string{`label empty must not be "" (has empty=)`}},
		{"empty in ()", "empty in ()", nil},
		{"in in (in),notin", "in in (in),notin", []string{"label in in (in) missing (no label in)", "label notin missing"}},
	}
	for _, tt := range tests {
		s, err := ParseSelector(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if s.String() != tt.canonical {
			t.Errorf("%q: canonical %q, want %q", tt.in, s, tt.canonical)
		}
		if diff := cmp.Diff(tt.failures, s.Failures(has)); diff != "" {
			t.Errorf("%q: %s", tt.in, diff)
		}
	}
}

func TestSelectorErrors(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `selector "": position 1: want a label key, found the end`},
		{"zone in a,b", `selector "zone in a,b": position 9: want "(" after in, found "a"`},
		{"zone in (a", `selector "zone in (a": position 11: want "," or ")", found the end`},
		{"a,", `selector "a,": position 3: want a label key, found the end`},
		{"a b", `selector "a b": position 3: want one of = == != in notin > < "," or the end, found "b"`},
		{"!a=b", `selector "!a=b": position 3: want "," or the end, found "="`},
		{"a>x", `selector "a>x": position 3: want an integer, 0 or more, found "x"`},
		{"a>-1", `selector "a>-1": position 3: want an integer, 0 or more, found "-1"`},
		{"a=é", `selector "a=é": position 3: label a="é": want a value of at most 63`},
		{"_a=b", `selector "_a=b": position 1: label key "_a": want 1 to 63`},
		{strings.Repeat("a,", 32) + "a", `more than 32 terms`},
		{strings.Repeat("a", 5000), `5000 bytes long, want at most 4096`},
		{"a in(" + strings.Repeat("a,", 2044) + "ab)", ``},
		{"abcd in(" + threeDigits(1022) + ")", `4097 bytes long with canonical spacing, want at most 4096`},
	}
	for _, tt := range tests {
		_, err := ParseSelector(tt.in)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%.20q: %v", tt.in, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20q: got %v, want %s", tt.in, err, tt.want)
		}
	}
}

func threeDigits(n int) string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("%03x", i)
	}
	return strings.Join(values, ",")
}

// drawSelector writes random terms as a person would, with loose spacing.
func drawSelector(t *rapid.T) string {
	key := rapid.SampledFrom([]string{"a", "b", "in", "x.io/c"})
	value := rapid.SampledFrom([]string{"", "1", "2", "10", "x", "in"})
	space := rapid.SampledFrom([]string{"", " ", "\t "})
	var terms []string
	for range rapid.IntRange(1, 6).Draw(t, "terms") {
		k, sp := key.Draw(t, "key"), space.Draw(t, "space")
		switch op := rapid.SampledFrom([]string{"=", "==", "!=", ">", "<", "in", "notin", "", "!"}).Draw(t, "op"); op {
		case "in", "notin":
			values := rapid.SliceOfN(value, 1, 4).Draw(t, "values")
			terms = append(terms, fmt.Sprintf("%s %s%s(%s)", k, op, sp, strings.Join(values, sp+",")))
		case "":
			terms = append(terms, sp+k)
		case "!":
			terms = append(terms, "!"+sp+k)
		case ">", "<":
			terms = append(terms, fmt.Sprint(k, sp, op, sp, rapid.IntRange(0, 20).Draw(t, "n")))
		default:
			terms = append(terms, k+sp+op+sp+value.Draw(t, "value"))
		}
	}
	return strings.Join(terms, ",")
}

func TestSelectorProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawSelector(t)
		s, err := ParseSelector(in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSelector(s.String())
		if err != nil || !again.Equal(s) || again.String() != s.String() {
			t.Fatalf("%q became %q and then %q, %v", in, s, again, err)
		}
		labels := rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "in", "x.io/c"}),
			rapid.SampledFrom([]string{"", "1", "2", "10", "x", "in"})).Draw(t, "labels")
		if s.Matches(labels) != (len(s.Failures(labels)) == 0) {
			t.Fatalf("%q on %v: matches %v, failures %q", s, labels, s.Matches(labels), s.Failures(labels))
		}
		all := true
		for _, term := range s.Terms() {
			all = all && term.Matches(labels)
		}
		if all != s.Matches(labels) {
			t.Fatalf("%q on %v: the terms say %v", s, labels, all)
		}
	})
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{"a=b", "a in (b,c),!d", "k>3,k<9", "a notin ()", "x.io/a!=", "a==b , c", "a in (", "!"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, in, value string) {
		s, err := ParseSelector(in)
		if err != nil {
			return
		}
		again, err := ParseSelector(s.String())
		if err != nil || !again.Equal(s) {
			t.Fatalf("%q became %q: %v", in, s, err)
		}
		labels := map[string]string{s.Terms()[0].Key: value}
		if s.Matches(labels) != (len(s.Failures(labels)) == 0) {
			t.Fatalf("%q: matches and failures disagree on %v", in, labels)
		}
	})
}

// What a term is said to be satisfied by can be the value of a label, and satisfies it.
func TestSatisfy(t *testing.T) {
	for text, want := range map[string]string{"a=b": "b", "a in (x,y)": "x", "a": "true", "a>3": "4", "a<3": "2", "a<1": "0",
		"a<0": "", "a>9223372036854775807": "", "a!=b": "", "!a": ""} {
		sel, err := ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		term := sel.Terms()[0]
		value, set := term.Satisfy()
		if value != want || set != (want != "") {
			t.Errorf("%s: %q, %t", text, value, set)
		}
		if set && (!term.Matches(map[string]string{"a": value}) || ValidateLabelValue("a", value) != nil) {
			t.Errorf("%s: %q does not do", text, value)
		}
	}
}
