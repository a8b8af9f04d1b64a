package engine

import "github.com/go-cluster/go-cluster/placement/model"

// Bare makes a plan that does not say what would give those without a place one, which takes most of the time; nothing else of it differs.
func Bare(p *model.Problem, r Request) *Result { return compute(p, r, true) }
