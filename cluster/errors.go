package cluster

import (
	"errors"
	"fmt"

	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// Error is what every method of this package returns when it fails: what was refused and why, with a code. With errors.As it gives
// the code and every failing rule of every node; with errors.Is it is one of the errors below.
type Error = api.Error

// Rejection is one rule that one node fails, with the values at hand.
type Rejection = events.Rejection

// Code classifies an Error.
type Code = api.Code

// What an error is, for errors.Is. Each stands for one code.
var (
	ErrInvalid     error = &Error{Code: api.CodeInvalid}     // the arguments can never be right: options, names, rules
	ErrNotFound    error = &Error{Code: api.CodeNotFound}    // it names an app, a node or a migration that does not exist
	ErrRefused     error = &Error{Code: api.CodeRefused}     // a rule or the present state forbids it
	ErrUnsupported error = &Error{Code: api.CodeUnsupported} // valid, but this version cannot do it
	ErrPending     error = &Error{Code: api.CodePending}     // something has nowhere to go; it goes on when there is a place
	ErrConflict    error = &Error{Code: api.CodeConflict}    // the state changed since
	ErrExpired     error = &Error{Code: api.CodeExpired}     // the command arrived too late
	ErrTimeout     error = &Error{Code: api.CodeTimeout}     // time was up; what was asked for may still happen
	ErrUnavailable error = &Error{Code: api.CodeUnavailable} // NATS or the control plane cannot be reached
	ErrInternal    error = &Error{Code: api.CodeInternal}    // a fault of go-cluster
	ErrDeclared    error = &Error{Code: api.CodeDeclared}    // the name belongs to an app of another kind
	ErrMode        error = &Error{Code: api.CodeMode}        // the app's mode has no such thing
	ErrFailed      error = &Error{Code: api.CodeFailed}      // a move was rolled back, or gave up
	ErrCancelled   error = &Error{Code: api.CodeCancelled}   // somebody called it off
	ErrVetoed      error = &Error{Code: api.CodeVetoed}      // the app's OnMigrationStart refused the move
	ErrFenced      error = &Error{Code: api.CodeFenced}      // this instance may not write
)

func invalid(format string, args ...any) *Error { return api.Refuse(api.CodeInvalid, format, args...) }

// typed gives an error that has none a code.
func typed(err error, code Code) error {
	var e *Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, embedded.ErrFenced):
		code = api.CodeFenced
	}
	return api.Refuse(code, "%s", fmt.Sprint(err))
}
