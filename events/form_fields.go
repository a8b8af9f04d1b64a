package events

import (
	"reflect"
	"strconv"
	"strings"
)

// field is one field of a struct, or of one that is embedded in it, by its tag.
type field struct {
	name   string // `,"name":`
	offset uintptr
	of     reflect.Type
	left   leftOut
}

// leftOut is when a field is not on the wire.
type leftOut uint8

const (
	never leftOut = iota // it is always there
	whereZero
	whereEmpty
)

// fieldsOf lists the fields of a struct that lies at an offset within another, in order. It says no to one with tags whose meaning is not known here.
func fieldsOf(t reflect.Type, at uintptr) (all []field, ok bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && options == "" && f.Type.Kind() == reflect.Struct {
			embedded, ok := fieldsOf(f.Type, at+f.Offset)
			if !ok {
				return nil, false
			}
			all = append(all, embedded...)
			continue
		}
		left, known := map[string]leftOut{"": never, "omitzero": whereZero, "omitempty": whereEmpty}[options]
		if !f.IsExported() || f.Anonymous || name == "" || name == "-" || !known {
			return nil, false
		}
		all = append(all, field{"," + strconv.Quote(name) + ":", at + f.Offset, f.Type, left})
	}
	return all, true
}
