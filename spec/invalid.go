package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fault is one thing wrong with a declared value.
type Fault struct {
	Field  string `json:"field"` // path such as ports.http or require[1]
	Detail string `json:"detail"`
}

// String returns the fault as "field: detail".
func (f Fault) String() string {
	if f.Field == "" {
		return f.Detail
	}
	return f.Field + ": " + f.Detail
}

// Invalid is the error of decoding and validation. It holds every fault that was found, sorted by field.
type Invalid struct {
	Faults []Fault `json:"faults"`
}

// Error implements error with all faults on one line.
func (e *Invalid) Error() string {
	parts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		parts[i] = f.String()
	}
	return strings.Join(parts, "; ")
}

// member writes the path of a key. A key that would make the path unreadable is quoted and cut.
func member(path, key string) string {
	odd := func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }
	if key == "" || len(key) > maxLabelKey || strings.ContainsFunc(key, odd) {
		return path + "[" + quoteShort(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// at writes the path of a list's element.
func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// faults collects; its zero value is ready to use.
type faults []Fault

func (f *faults) addf(field, format string, args ...any) {
	*f = append(*f, Fault{Field: field, Detail: fmt.Sprintf(format, args...)})
}

func (f *faults) check(field string, err error) {
	if err != nil {
		f.addf(field, "%v", err)
	}
}

func (f *faults) sorted() []Fault {
	slices.SortFunc(*f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Detail, b.Detail))
	})
	return slices.Compact(*f)
}

// err is a nil error and not a nil *Invalid when there is nothing to report.
func (f *faults) err() error {
	if len(*f) == 0 {
		return nil
	}
	return &Invalid{Faults: f.sorted()}
}
