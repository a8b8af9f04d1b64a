package api

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-cluster/go-cluster/events"
)

// Code classifies a refusal. Codes are on the wire and are only ever added to.
type Code string

// The codes.
const (
	CodeInvalid     Code = "invalid"     // malformed: the request can never succeed as it is
	CodeNotFound    Code = "not_found"   // it names something that does not exist
	CodeRefused     Code = "refused"     // a rule or the present state forbids it
	CodeUnsupported Code = "unsupported" // valid, but this version cannot do it
	CodePending     Code = "pending"     // it would leave an app without any eligible node
	CodeConflict    Code = "conflict"    // the state is not the one the request was bound to
	CodeExpired     Code = "expired"     // it arrived after its own expiry
	CodeTimeout     Code = "timeout"     // time was up
	CodeUnavailable Code = "unavailable" // NATS or the service cannot be reached, or it cannot decide now
	CodeInternal    Code = "internal"    // a fault of ours
	CodeDeclared    Code = "declared"    // the app belongs to the programs that declare it, or its name to an applied app
	CodeMode        Code = "mode"        // the app's mode has no such thing

	// The following are of clients: nothing on the wire has them.
	CodeFailed    Code = "failed"    // a move was rolled back or gave up
	CodeCancelled Code = "cancelled" // it was called off
	CodeFenced    Code = "fenced"    // the instance may not write
	CodeVetoed    Code = "vetoed"    // a hook of the app refused the move
)

// Error is a typed refusal: what was refused and why, with every failing rule.
type Error struct {
	Code       Code               `json:"code"`
	Detail     string             `json:"detail"`         // names the thing and the reason
	Field      string             `json:"field,omitzero"` // the offending field of a malformed request
	Rejections []events.Rejection `json:"rejections,omitempty"`
	Seq        uint64             `json:"seq,omitzero"` // of the event that records the refusal
}

// Is says whether target stands for the code of e: an *Error with that code and nothing else.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Detail == "" && t.Field == "" && len(t.Rejections) == 0
}

// Error implements error: the detail, then one line per rejection.
func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Code)
	}
	if len(e.Rejections) == 0 {
		return e.Detail
	}
	var b strings.Builder
	b.WriteString(e.Detail)
	for _, r := range e.Rejections {
		fmt.Fprintf(&b, "\n  %s: %s", r.Node, r.Detail)
	}
	return b.String()
}

// Refuse makes an *Error.
func Refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of an error, CodeInternal for one without.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
