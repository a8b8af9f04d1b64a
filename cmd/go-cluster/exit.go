package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/go-cluster/go-cluster/api"
)

// Exit codes. Scripts rely on them: they are only ever added to.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2  // the command line or a file is wrong
	exitRefused     = 3  // by a rule, a guardrail or this version's abilities
	exitTimeUp      = 4  // the time given was up
	exitNotFound    = 5  // it names something that does not exist
	exitUnreachable = 6  // NATS or the control plane does not answer
	exitFailedMoves = 7  // it ended, and some migrations failed or were rolled back
	exitPending     = 8  // accepted, but something has nowhere to go
	exitConflict    = 9  // the state changed since
	exitChanges     = 10 // --dry-run --detailed-exitcode: there are changes
	exitApproval    = 11 // waits for approval
	exitInterrupted = 130
)

// exitCodesHelp closes the help of the whole program.
const exitCodesHelp = `Exit codes: 0 done or nothing to do · 1 error · 2 usage or invalid input · 3 refused or unsupported · 4 time is up · ` +
	`5 not found · 6 NATS or control plane unreachable · 7 ended, some migrations failed or were rolled back · ` +
	`8 accepted, but something is Pending · 9 state changed since · 10 dry run with changes · 11 waits for approval · 130 interrupted`

// exit is the end of a command with a code of its own. A nil err means that everything has been said.
type exit struct {
	code int
	err  error
	hint string // the next step, "" for none
}

// Error implements error.
func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap keeps the cause reachable.
func (e *exit) Unwrap() error { return e.err }

// fail ends a command with an error of its own wording.
func fail(code int, format string, args ...any) *exit {
	return &exit{code: code, err: fmt.Errorf(format, args...)}
}

// done ends a command that has said everything; code 0 is success.
func done(code int) error {
	if code == exitDone {
		return nil
	}
	return &exit{code: code}
}

func (e *exit) try(format string, args ...any) *exit {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// codeOfAPI maps what the control plane says to what a script sees.
func codeOfAPI(code api.Code) int {
	switch code {
	case api.CodeInvalid:
		return exitUsage
	case api.CodeNotFound:
		return exitNotFound
	case api.CodeRefused, api.CodeUnsupported, api.CodePending, api.CodeDeclared, api.CodeMode:
		return exitRefused
	case api.CodeConflict:
		return exitConflict
	case api.CodeExpired:
		return exitTimeUp
	case api.CodeTimeout, api.CodeUnavailable: // nobody answered: not to be mistaken for a drain whose time was up
		return exitUnreachable
	}
	return exitError
}

// codeOf returns the exit code of a command's error.
func codeOf(err error) int {
	var (
		e       *exit
		refusal *api.Error
		usage   *kong.ParseError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &refusal):
		return codeOfAPI(refusal.Code)
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeUp
	}
	return exitError
}

// gravest picks the one code for several outcomes: what needs a person most wins.
func gravest(codes ...int) int {
	order := []int{exitDone, exitChanges, exitApproval, exitPending, exitFailedMoves, exitTimeUp, exitConflict, exitRefused, exitNotFound,
		exitUsage, exitError, exitUnreachable, exitInterrupted}
	worst := exitDone
	for _, c := range codes {
		if slices.Index(order, c) > slices.Index(order, worst) {
			worst = c
		}
	}
	return worst
}
