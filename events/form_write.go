package events

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/spec"
)

// writer writes the form that a type has in JSON, byte for byte as the encoder that knows all of JSON does. It says no (ok) to what
// that one is to be asked for, or is to refuse.
type writer struct {
	b  []byte
	ok bool
}

// writing writes the value at p, which is of the type that it was made for.
type writing func(w *writer, p unsafe.Pointer)

// writingOf is the counterpart of formOf; nil for a type that has no place in payloads so far. A field of such a type is written
// only where it is left out.
func writingOf(t reflect.Type) writing {
	switch t {
	case reflect.TypeFor[spec.Duration]():
		return func(w *writer, p unsafe.Pointer) { w.text((*(*spec.Duration)(p)).String()) }
	case reflect.TypeFor[spec.CPU]():
		return func(w *writer, p unsafe.Pointer) { w.text((*(*spec.CPU)(p)).String()) }
	case reflect.TypeFor[spec.Bytes]():
		return func(w *writer, p unsafe.Pointer) { w.text((*(*spec.Bytes)(p)).String()) }
	case reflect.TypeFor[time.Time]():
		return func(w *writer, p unsafe.Pointer) { w.time(*(*time.Time)(p)) }
	}
	for _, own := range []reflect.Type{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.MarshalerTo](),
		reflect.TypeFor[encoding.TextAppender]()} {
		if reflect.PointerTo(t).Implements(own) {
			return nil
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(w *writer, p unsafe.Pointer) { w.text(*(*string)(p)) }
	case reflect.Bool:
		return func(w *writer, p unsafe.Pointer) { w.b = strconv.AppendBool(w.b, *(*bool)(p)) }
	case reflect.Int:
		return func(w *writer, p unsafe.Pointer) { w.b = strconv.AppendInt(w.b, int64(*(*int)(p)), 10) }
	case reflect.Int64:
		return func(w *writer, p unsafe.Pointer) { w.b = strconv.AppendInt(w.b, *(*int64)(p), 10) }
	case reflect.Uint64:
		return func(w *writer, p unsafe.Pointer) { w.b = strconv.AppendUint(w.b, *(*uint64)(p), 10) }
	case reflect.Pointer:
		return writingPointer(t)
	case reflect.Slice:
		return writingSlice(t)
	case reflect.Map:
		return writingMap(t)
	case reflect.Struct:
		return writingStruct(t)
	}
	return nil
}

// text writes a string.
func (w *writer) text(s string) {
	w.b = append(w.b, '"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			w.quoted(s)
			return
		}
	}
	w.b = append(append(w.b, s...), '"')
}

// quoted writes a string, whose opening quote is there, in which something is escaped or is no ASCII.
func (w *writer) quoted(s string) {
	b, err := jsontext.AppendQuote(w.b[:len(w.b)-1], s)
	if err != nil {
		w.ok = false
		return
	}
	w.b = b
}

// time writes a time that is in UTC.
func (w *writer) time(t time.Time) {
	if y := t.Year(); t.Location() != time.UTC || y < 0 || y > 9999 {
		w.ok = false
		return
	}
	w.b = append(t.AppendFormat(append(w.b, '"'), time.RFC3339Nano), '"')
}

func writingPointer(t reflect.Type) writing {
	elem := writingOf(t.Elem())
	if elem == nil {
		return nil
	}
	return func(w *writer, p unsafe.Pointer) {
		if to := *(*unsafe.Pointer)(p); to != nil {
			elem(w, to)
		} else {
			w.b = append(w.b, "null"...)
		}
	}
}

func writingSlice(t reflect.Type) writing {
	elem, size := writingOf(t.Elem()), t.Elem().Size()
	if elem == nil || t.Elem().Kind() == reflect.Uint8 {
		return nil
	}
	return func(w *writer, p unsafe.Pointer) {
		v := reflect.NewAt(t, p).Elem()
		first, n := v.UnsafePointer(), v.Len()
		w.b = append(w.b, '[')
		for i := range n {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			elem(w, unsafe.Add(first, uintptr(i)*size))
		}
		w.b = append(w.b, ']')
	}
}

func writingMap(t reflect.Type) writing {
	switch elem := writingOf(t.Elem()); t {
	case reflect.TypeFor[map[string]string]():
		return writingTextMap[string](elem)
	case reflect.TypeFor[map[string]int]():
		return writingTextMap[int](elem)
	case reflect.TypeFor[map[string]int64]():
		return writingTextMap[int64](elem)
	case reflect.TypeFor[map[string]uint64]():
		return writingTextMap[uint64](elem)
	case reflect.TypeFor[map[string]spec.HookRef]():
		return writingTextMap[spec.HookRef](elem)
	}
	return nil
}

// writingTextMap writes members in the order of their names.
func writingTextMap[V any](elem writing) writing {
	return func(w *writer, p unsafe.Pointer) {
		m := *(*map[string]V)(p)
		var space [8]string
		names := space[:0]
		for name := range m {
			names = append(names, name)
		}
		slices.Sort(names)
		w.b = append(w.b, '{')
		var value V
		for i, name := range names {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.text(name)
			w.b = append(w.b, ':')
			value = m[name]
			elem(w, unsafe.Pointer(&value))
		}
		w.b = append(w.b, '}')
	}
}

// written is how one field is written.
type written struct {
	field
	absent func(p unsafe.Pointer) bool // it is left out; nil: never
	write  writing
}

func writingStruct(t reflect.Type) writing {
	fields, ok := fieldsOf(t, 0)
	if !ok {
		return nil
	}
	all := make([]written, len(fields))
	for i, f := range fields {
		all[i] = written{f, absentOf(f), writingOf(f.of)}
		if f.left != never && all[i].absent == nil {
			return nil
		}
	}
	return func(w *writer, p unsafe.Pointer) {
		w.b = append(w.b, '{')
		first := 1 // there is no comma before the first member that is there
		for i := range all {
			f := &all[i]
			at := unsafe.Add(p, f.offset)
			if f.absent != nil && f.absent(at) {
				continue
			}
			if f.write == nil {
				w.ok = false
				return
			}
			w.b = append(w.b, f.name[first:]...)
			f.write(w, at)
			first = 0
		}
		w.b = append(w.b, '}')
	}
}

// absentOf tells when a field is left out; nil where that is never, or is not plain.
func absentOf(f field) func(p unsafe.Pointer) bool {
	switch f.left {
	case whereZero:
		return zeroOf(f.of)
	case whereEmpty:
		return emptyOf(f.of)
	}
	return nil
}

// zeroOf tells when a field is left out that is where it is zero; nil for a type that has a word in that.
func zeroOf(t reflect.Type) func(p unsafe.Pointer) bool {
	if t == reflect.TypeFor[time.Time]() {
		return func(p unsafe.Pointer) bool { return (*(*time.Time)(p)).IsZero() }
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ IsZero() bool }]()) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(p unsafe.Pointer) bool { return *(*string)(p) == "" }
	case reflect.Pointer, reflect.Map:
		return func(p unsafe.Pointer) bool { return *(*unsafe.Pointer)(p) == nil }
	}
	return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().IsZero() }
}

// emptyOf tells when a field is left out that is where it is empty; nil for a type of which that is not plain.
func emptyOf(t reflect.Type) func(p unsafe.Pointer) bool {
	if t.Kind() != reflect.Slice && t.Kind() != reflect.Map || writingOf(t) == nil {
		return nil
	}
	return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().Len() == 0 }
}

// write returns the wire form of e, or nil for what the encoder that knows all of JSON is to be asked for.
func write(e *Event, ts time.Time) []byte {
	r := registry[e.Type]
	if r == nil || r.write == nil || reflect.TypeOf(e.Data) != r.pointer {
		return nil
	}
	data := reflect.ValueOf(e.Data).UnsafePointer()
	if data == nil {
		return nil
	}
	w := writer{b: make([]byte, 0, 1024), ok: true}
	member := func(before, text string) {
		if text != "" {
			w.b = append(w.b, before...)
			w.text(text)
		}
	}
	w.b = append(w.b, `{"id":`...)
	w.text(e.ID)
	w.b = append(w.b, `,"ts":`...)
	w.time(ts)
	w.b = append(w.b, r.words...)
	member(`,"app":`, e.App)
	member(`,"node":`, e.Node)
	w.b = strconv.AppendInt(append(w.b, `,"v":`...), int64(e.V), 10)
	w.b = strconv.AppendUint(append(w.b, `,"rev":`...), e.Rev, 10)
	w.b = append(w.b, `,"actor":`...)
	w.text(e.Actor)
	member(`,"cause":`, e.Cause)
	member(`,"correlation":`, e.Correlation)
	member(`,"prev":`, e.Prev)
	member(`,"stream":`, e.Stream)
	w.b = append(w.b, `,"data":`...)
	r.write(&w, data)
	if !w.ok {
		return nil
	}
	return append(w.b, '}')
}
