package events

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/spec"
)

// form reads a value of one type in exactly the form that encode gives it, members in the order of the struct and nothing between
// them, into v, which is zero. For everything else, also for what is well-formed, it has s say no: the decoder that knows all of JSON
// is asked then. A member that is there twice, out of its place or unknown is therefore never taken, and neither is one that does
// not fit its field.
type form func(s *scan, v reflect.Value)

// formOf makes the form of a type; nil for one that has no place in payloads so far. A field of such a type is read only where it is
// left out.
func formOf(t reflect.Type) form {
	switch t {
	case reflect.TypeFor[spec.Duration](), reflect.TypeFor[spec.CPU](), reflect.TypeFor[spec.Bytes]():
		return readText
	case reflect.TypeFor[time.Time]():
		return func(s *scan, v reflect.Value) { v.Set(reflect.ValueOf(s.time(`"`))) }
	}
	for _, own := range []reflect.Type{reflect.TypeFor[encoding.TextUnmarshaler](), reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[json.UnmarshalerFrom]()} {
		if reflect.PointerTo(t).Implements(own) {
			return nil
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(s *scan, v reflect.Value) { v.SetString(s.text(`"`, "")) }
	case reflect.Bool:
		return readBool
	case reflect.Int, reflect.Int64:
		return readInt
	case reflect.Uint, reflect.Uint64:
		return func(s *scan, v reflect.Value) { v.SetUint(s.number("")) }
	case reflect.Pointer:
		return pointerForm(t)
	case reflect.Slice:
		return sliceForm(t)
	case reflect.Map:
		return mapForm(t)
	case reflect.Struct:
		return structForm(t)
	}
	return nil
}

// readText reads the scalars of spec, which are strings on the wire.
func readText(s *scan, v reflect.Value) {
	text := s.text(`"`, "")
	if u, is := v.Addr().Interface().(encoding.TextUnmarshaler); s.ok && (!is || u.UnmarshalText([]byte(text)) != nil) {
		s.ok = false
	}
}

func readBool(s *scan, v reflect.Value) {
	if s.has("true") {
		v.SetBool(true)
		return
	}
	s.skip("false")
}

func readInt(s *scan, v reflect.Value) {
	negative := s.has("-")
	n := int64(s.number("")) // which has no more digits than fit
	if negative {
		n = -n
	}
	if v.SetInt(n); v.Int() != n || negative && n == 0 {
		s.ok = false
	}
}

func pointerForm(t reflect.Type) form {
	elem := formOf(t.Elem())
	if elem == nil {
		return nil
	}
	return func(s *scan, v reflect.Value) {
		v.Set(reflect.New(t.Elem()))
		elem(s, v.Elem())
	}
}

func sliceForm(t reflect.Type) form {
	elem := formOf(t.Elem())
	if elem == nil || t.Elem().Kind() == reflect.Uint8 {
		return nil
	}
	return func(s *scan, v reflect.Value) {
		s.skip("[")
		v.Set(reflect.MakeSlice(t, 0, 0))
		for n := 0; s.ok && !s.has("]"); n++ {
			if n > 0 {
				s.skip(",")
			}
			v.Grow(1)
			v.SetLen(n + 1)
			elem(s, v.Index(n))
		}
	}
}

func mapForm(t reflect.Type) form {
	elem := formOf(t.Elem())
	if elem == nil || t.Key().Kind() != reflect.String || t.Key().NumMethod() > 0 {
		return nil
	}
	return func(s *scan, v reflect.Value) {
		s.skip("{")
		v.Set(reflect.MakeMap(t))
		before := ""
		for n := 0; s.ok && !s.has("}"); n++ {
			if n > 0 {
				s.skip(",")
			}
			key := s.text(`"`, "")
			if s.skip(":"); n > 0 && key <= before { // they are in order, so that none is there twice
				s.ok = false
			}
			value := reflect.New(t.Elem()).Elem()
			if elem(s, value); s.ok {
				v.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), value)
			}
			before = key
		}
	}
}

// member is one field of a struct.
type member struct {
	name     string // `,"name":`
	index    int
	optional bool // it may be left out
	read     form
}

func structForm(t reflect.Type) form {
	body := membersOf(t)
	if body == nil {
		return nil
	}
	return func(s *scan, v reflect.Value) {
		s.skip("{")
		body(s, v, true)
		s.skip("}")
	}
}

// body reads the members of a struct between its braces; first says that none stands before them, and the result that none does
// behind them.
type body func(s *scan, v reflect.Value, first bool) bool

// membersOf returns nil for a struct with tags whose meaning is not known here.
func membersOf(t reflect.Type) body {
	var (
		embedded = map[int]body{}
		all      []member
	)
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && options == "" && f.Type.Kind() == reflect.Struct:
			if embedded[i] = membersOf(f.Type); embedded[i] == nil {
				return nil
			}
			all = append(all, member{index: i})
			continue
		case !f.IsExported() || f.Anonymous || name == "" || name == "-" || !slices.Contains([]string{"", "omitzero", "omitempty"}, options):
			return nil
		}
		all = append(all, member{name: "," + strconv.Quote(name) + ":", index: i, optional: options != "", read: formOf(f.Type)})
	}
	return func(s *scan, v reflect.Value, first bool) bool {
		for i := range all {
			m := &all[i]
			if m.name == "" {
				first = embedded[m.index](s, v.Field(m.index), first)
				continue
			}
			name := m.name
			if first {
				name = name[1:]
			}
			switch there := s.has(name); {
			case there && m.read != nil:
				m.read(s, v.Field(m.index))
				first = false
			case there || !m.optional:
				s.ok = false
			}
			if !s.ok {
				break
			}
		}
		return first
	}
}
