package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/go-cluster/go-cluster/api"
)

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{api.Refuse(api.CodeInternal, "x"), 1},
		{api.Refuse("a code of a later version", "x"), 1},
		{api.Refuse(api.CodeInvalid, "x"), 2},
		{api.Refuse(api.CodeRefused, "x"), 3},
		{api.Refuse(api.CodeUnsupported, "x"), 3},
		{api.Refuse(api.CodePending, "x"), 3},
		{api.Refuse(api.CodeExpired, "x"), 4},
		{context.DeadlineExceeded, 4},
		{api.Refuse(api.CodeNotFound, "x"), 5},
		{api.Refuse(api.CodeUnavailable, "x"), 6},
		{api.Refuse(api.CodeTimeout, "x"), 6},
		{done(exitFailedMoves), 7},
		{done(exitPending), 8},
		{api.Refuse(api.CodeConflict, "x"), 9},
		{done(exitChanges), 10},
		{done(exitApproval), 11},
		{context.Canceled, 130},
		{fmt.Errorf("wrapped: %w", api.Refuse(api.CodeNotFound, "x")), 5},
		{fmt.Errorf("wrapped: %w", fail(exitRefused, "x")), 3},
		{done(exitDone), 0},
	} {
		if got := codeOf(tc.err); got != tc.want {
			t.Errorf("codeOf(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestGravest(t *testing.T) {
	for _, tc := range []struct {
		codes []int
		want  int
	}{
		{nil, exitDone},
		{[]int{exitDone, exitDone}, exitDone},
		{[]int{exitDone, exitPending}, exitPending},
		{[]int{exitFailedMoves, exitPending}, exitFailedMoves},
		{[]int{exitFailedMoves, exitTimeUp, exitPending}, exitTimeUp},
		{[]int{exitNotFound, exitTimeUp}, exitNotFound},
		{[]int{exitUnreachable, exitNotFound}, exitUnreachable},
	} {
		if got := gravest(tc.codes...); got != tc.want {
			t.Errorf("gravest(%v) = %d, want %d", tc.codes, got, tc.want)
		}
	}
}
