// Package engine plans: given a compiled state it returns the moves that should happen, in order, with the least number that could
// do. Forced moves come before repair, repair before balance, balance before preference; when nothing is wrong there are none. It is
// pure and deterministic: equal problems give equal plans.
package engine
