package events

import (
	"encoding"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/spec"
)

// form reads a value of one type in exactly the form that encode gives it, members in the order of the struct and nothing between
// them, into the value at p, which is zero and of that type. For everything else, also for what is well-formed, it has s say no: the
// decoder that knows all of JSON is asked then. A member that is there twice, out of its place or unknown is therefore never taken,
// and neither is one that does not fit its field.
//
// A form is made once for each type, from the type, and knows where in it each field lies: reflection at each field of each event
// would take as long as all the rest.
type form func(s *scan, p unsafe.Pointer)

// formOf makes the form of a type; nil for one that has no place in payloads so far. A field of such a type is read only where it is
// left out.
func formOf(t reflect.Type) form {
	switch t {
	case reflect.TypeFor[spec.Duration](), reflect.TypeFor[spec.CPU](), reflect.TypeFor[spec.Bytes]():
		return scalarForm(t)
	case reflect.TypeFor[time.Time]():
		return func(s *scan, p unsafe.Pointer) { *(*time.Time)(p) = s.time(`"`) }
	}
	for _, own := range []reflect.Type{reflect.TypeFor[encoding.TextUnmarshaler](), reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[json.UnmarshalerFrom]()} {
		if reflect.PointerTo(t).Implements(own) {
			return nil
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(s *scan, p unsafe.Pointer) { *(*string)(p) = s.word(`"`) }
	case reflect.Bool:
		return func(s *scan, p unsafe.Pointer) { *(*bool)(p) = s.truth() }
	case reflect.Int:
		return func(s *scan, p unsafe.Pointer) { *(*int)(p) = int(s.signed(strconv.IntSize)) }
	case reflect.Int64:
		return func(s *scan, p unsafe.Pointer) { *(*int64)(p) = s.signed(64) }
	case reflect.Uint64:
		return func(s *scan, p unsafe.Pointer) { *(*uint64)(p) = s.number("") }
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

// scalarForm reads the scalars of spec, which are strings on the wire.
func scalarForm(t reflect.Type) form {
	return func(s *scan, p unsafe.Pointer) {
		s.skip(`"`)
		text := s.quoted()
		if u, is := reflect.NewAt(t, p).Interface().(encoding.TextUnmarshaler); s.ok && (!is || u.UnmarshalText(text) != nil) {
			s.ok = false
		}
	}
}

// truth takes true or false.
func (s *scan) truth() bool {
	if s.has("true") {
		return true
	}
	s.skip("false")
	return false
}

// signed takes a number that fits so many bits.
func (s *scan) signed(size int) int64 {
	negative := s.has("-")
	n := int64(s.number("")) // which has no more digits than fit 64
	if negative {
		n = -n
	}
	if negative && n == 0 || n>>(size-1) != n>>63 {
		s.ok = false
	}
	return n
}

func pointerForm(t reflect.Type) form {
	elem := formOf(t.Elem())
	if elem == nil {
		return nil
	}
	return func(s *scan, p unsafe.Pointer) {
		to := reflect.New(t.Elem()).UnsafePointer()
		*(*unsafe.Pointer)(p) = to
		elem(s, to)
	}
}

func sliceForm(t reflect.Type) form {
	elem := formOf(t.Elem())
	if elem == nil || t.Elem().Kind() == reflect.Uint8 {
		return nil
	}
	return func(s *scan, p unsafe.Pointer) {
		s.skip("[")
		v := reflect.NewAt(t, p).Elem()
		v.Set(reflect.MakeSlice(t, 0, 0))
		for n := 0; s.ok && !s.has("]"); n++ {
			if n > 0 {
				s.skip(",")
			}
			v.Grow(1)
			v.SetLen(n + 1)
			elem(s, v.Index(n).Addr().UnsafePointer())
		}
	}
}

func mapForm(t reflect.Type) form {
	switch elem := formOf(t.Elem()); t {
	case reflect.TypeFor[map[string]string]():
		return textMapForm[string](elem)
	case reflect.TypeFor[map[string]int]():
		return textMapForm[int](elem)
	case reflect.TypeFor[map[string]int64]():
		return textMapForm[int64](elem)
	case reflect.TypeFor[map[string]uint64]():
		return textMapForm[uint64](elem)
	case reflect.TypeFor[map[string]spec.HookRef]():
		return textMapForm[spec.HookRef](elem)
	}
	return nil
}

func textMapForm[V any](elem form) form {
	return func(s *scan, p unsafe.Pointer) {
		s.skip("{")
		m := make(map[string]V)
		*(*map[string]V)(p) = m
		var value, none V
		before := ""
		for n := 0; s.ok && !s.has("}"); n++ {
			if n > 0 {
				s.skip(",")
			}
			name := s.word(`"`)
			if s.skip(":"); n > 0 && name <= before { // they are in order, so that none is there twice
				s.ok = false
			}
			value = none
			elem(s, unsafe.Pointer(&value))
			m[name], before = value, name
		}
	}
}

// member is how one field is read.
type member struct {
	field
	read form
}

func structForm(t reflect.Type) form {
	fields, ok := fieldsOf(t, 0)
	if !ok {
		return nil
	}
	members := make([]member, len(fields))
	for i, f := range fields {
		members[i] = member{f, formOf(f.of)}
	}
	return func(s *scan, p unsafe.Pointer) {
		s.skip("{")
		first := 1 // there is no comma before the first member that is there
		for i := range members {
			m := &members[i]
			switch there := s.has(m.name[first:]); {
			case there && m.read != nil && s.ok:
				m.read(s, unsafe.Add(p, m.offset))
				first = 0
			case there || m.left == never:
				s.ok = false
				return
			}
		}
		s.skip("}")
	}
}
