// Package check judges plans. It shares no code with what makes them: it reads the state and the plan as data, evaluates every rule
// by itself, carries the moves out one wave after the other, and recomputes bounds from their certificates.
package check
