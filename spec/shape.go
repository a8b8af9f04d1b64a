package spec

import (
	"bytes"
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strings"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// manyFaults is where the walk ends: a file with so many is not a spec at all, and looking for what each of them may have
// been meant for takes time.
const manyFaults = 50

// shape compares a document with the Go type it is meant for. A decoder stops at the first fault; this walk reports all of
// them, up to manyFaults, and knows the keys that an unknown one may have been meant for.
type shape struct {
	root   reflect.Type
	faults *faults
}

func (s shape) value(v jsontext.Value, t reflect.Type, path string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case isLeaf(t):
		s.leaf(v, t, path)
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		if v.Kind() != '{' {
			s.faults.addf(path, "%swant a mapping of keys to values", describe(v))
			return
		}
		s.mapping(v, t, path)
	case v.Kind() != '[':
		s.faults.addf(path, "%swant a list", describe(v))
	default:
		s.list(v, t, path)
	}
}

// mapping skips a null for a key of a struct, because a key with nothing after it is as good as absent. In a map or a list it
// is a fault: "A:" in env is more likely a slip than an empty value.
func (s shape) mapping(v jsontext.Value, t reflect.Type, path string) {
	var fields map[string]reflect.Type
	if t.Kind() == reflect.Struct {
		fields = jsonFields(t)
	}
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for dec.PeekKind() != '}' && len(*s.faults) < manyFaults {
		token, err := dec.ReadToken()
		if err != nil {
			return // checkStructure has read the same text without an error
		}
		key := token.String()
		child, err := dec.ReadValue()
		if err != nil {
			return
		}
		field := member(path, key)
		switch ft, known := fields[key]; {
		case t.Kind() == reflect.Map:
			s.element(child, t.Elem(), field)
		case !known:
			s.faults.addf(field, "unknown key%s", s.suggestion(key, fields))
		case child.Kind() != 'n':
			s.value(child, ft, field)
		}
	}
}

func (s shape) list(v jsontext.Value, t reflect.Type, path string) {
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for i := 0; dec.PeekKind() != ']' && len(*s.faults) < manyFaults; i++ {
		child, err := dec.ReadValue()
		if err != nil {
			return
		}
		s.element(child, t.Elem(), at(path, i))
	}
}

func (s shape) element(v jsontext.Value, t reflect.Type, path string) {
	if v.Kind() == 'n' {
		s.faults.addf(path, "has no value")
		return
	}
	s.value(v, t, path)
}

// neverZero are the keys that have a default and mean nothing as 0, which would silently become that: of an app by their last part.
var (
	neverZero = []string{"drain_timeout", "step_timeout", "stop_timeout", "timeout", "interval", "within", "backoff",
		"weight", "move_cost", "max_parallel", "healthy_after", "fail_after"}
	neverZeroPolicy = []string{"migration.max_concurrent", "migration.approval_expiry"}
)

// defaults says whether a value of 0 at a path would become the default.
func (s shape) defaults(path string) bool {
	if s.root == reflect.TypeFor[App]() {
		return slices.Contains(neverZero, path[strings.LastIndexByte(path, '.')+1:])
	}
	return s.root == reflect.TypeFor[Policy]() && slices.Contains(neverZeroPolicy, path)
}

func (s shape) leaf(v jsontext.Value, t reflect.Type, path string) {
	into := reflect.New(t)
	err := json.Unmarshal(v, into.Interface())
	if err == nil {
		if zero := into.Elem(); (t.Kind() == reflect.Int || t == reflect.TypeFor[Duration]()) && zero.IsZero() && s.defaults(path) {
			other := "another number than 0"
			if t == reflect.TypeFor[Duration]() {
				other = "more than 0"
			}
			s.faults.addf(path, "%swant %s, or no such key: then it is the default", describe(v), other)
		}
		return
	}
	if _, own := into.Interface().(encoding.TextUnmarshaler); own {
		s.faults.addf(path, "%s", leafDetail(err))
		return
	}
	want := map[reflect.Kind]string{
		reflect.String: "want a string", reflect.Bool: "want true or false", reflect.Int: "want a whole number", reflect.Float64: "want a number",
	}[t.Kind()]
	switch kind := v.Kind(); {
	case t.Kind() == reflect.String && (kind == 't' || kind == 'f'):
		want += "; YAML reads an unquoted y, n, yes, no, on and off as true or false: quote it"
	case t.Kind() == reflect.String && kind == '0':
		want += ": quote it"
	}
	s.faults.addf(path, "%s%s", describe(v), want)
}

// leafDetail is the error of a type's own unmarshaler without the decoder's framing.
func leafDetail(err error) string {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) && semantic.Err != nil {
		return semantic.Err.Error()
	}
	return err.Error()
}

// describe names a value for an error; the content of a mapping or list says nothing there.
func describe(v jsontext.Value) string {
	switch v.Kind() {
	case '{':
		return "a mapping: "
	case '[':
		return "a list: "
	case '"':
		if s, err := jsontext.AppendUnquote(nil, v); err == nil {
			return quoteShort(string(s)) + ": "
		}
	}
	const most = 80
	if len(v) > most { // a number of as many digits
		v = append(v[:most:most], "…"...)
	}
	return string(v) + ": "
}

// fewKeys is up to how many are told where nothing is like an unknown one.
const fewKeys = 12

// suggestion offers a key of the same place that is spelt alike, or else the place where exactly this key belongs, or else what there is, where that is not much.
func (s shape) suggestion(key string, fields map[string]reflect.Type) string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	if near := nearest(key, names); near != "" {
		return " (did you mean " + near + "?)"
	}
	if places := placesOf(key, s.root, ""); len(places) == 1 {
		if !strings.Contains(places[0], ".") {
			return " (did you mean " + places[0] + " at the top level?)"
		}
		return " (did you mean " + places[0] + "?)"
	}
	if len(names) <= fewKeys {
		return " (known here: " + strings.Join(names, ", ") + ")"
	}
	return ""
}

// placesOf lists the paths at which a key is known. It ends because the types do not contain themselves.
func placesOf(key string, t reflect.Type, path string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		if t.Kind() == reflect.Slice {
			path += "[]"
		}
		if t = t.Elem(); isLeaf(t) {
			return nil
		}
	}
	if isLeaf(t) || t.Kind() != reflect.Struct {
		return nil
	}
	fields := jsonFields(t)
	if _, found := fields[key]; found {
		return []string{member(path, key)}
	}
	var places []string
	for name, ft := range fields {
		places = append(places, placesOf(key, ft, member(path, name))...)
	}
	slices.Sort(places)
	return places
}

// jsonFields lists a struct's keys with those of its embedded structs.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			fields[name] = f.Type
		}
	}
	return fields
}

func isLeaf(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		return false
	}
	return true
}
