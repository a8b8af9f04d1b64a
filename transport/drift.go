package transport

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// chosenElsewhere are the fields that no version of ours has an opinion on: operators place streams, pausing is an operator's
// tool, and the server adds metadata of its own.
var chosenElsewhere = map[string]bool{"Metadata": true, "Placement": true, "PauseUntil": true}

// sameConfig compares a wanted configuration with the server's, field by field; the error has one line per difference.
func sameConfig[T any](what string, want, got T) error {
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	var errs []error
	for i := range w.NumField() {
		f := w.Type().Field(i)
		if !f.IsExported() || chosenElsewhere[f.Name] || equal(w.Field(i), g.Field(i)) {
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %s is %v, want %v", what, f.Name, g.Field(i), w.Field(i)))
	}
	return errors.Join(errs...)
}

// equal takes an absent list for an empty one: the wire does not tell them apart.
func equal(a, b reflect.Value) bool {
	if k := a.Kind(); (k == reflect.Slice || k == reflect.Map) && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// configHash identifies a wanted configuration, so that one look at a stream tells which one made it. Fields at their zero value
// do not count: a later client library has more of them.
func configHash(want any) string {
	v := reflect.ValueOf(want)
	var b strings.Builder
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !chosenElsewhere[f.Name] && !v.Field(i).IsZero() {
			fmt.Fprintf(&b, "%s=%v\n", f.Name, v.Field(i))
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}
