package placement

import "github.com/go-cluster/go-cluster/events"

// Refusals is why nodes were passed over: by rule, in the order in which the first node that fails it comes.
type Refusals []Refusal

// Refusal is the nodes that fail one rule.
type Refusal struct {
	Code  string
	Nodes int
	First []events.Rejection // of the first of them by id
}

// reasons says why nodes were passed over, where somebody asks.
type reasons interface{ refusals() Refusals }

// listed is rejections in the order of the nodes.
type listed []events.Rejection

func (l listed) refusals() Refusals { return refusalsOf(l) }

// mostExamples is how many nodes a refusal names.
const mostExamples = 20

// refusalsOf groups rejections, which are in the order of the nodes.
func refusalsOf(rejections []events.Rejection) (out Refusals) {
	at, last := map[string]int{}, map[string]string{}
	for _, r := range rejections {
		i, seen := at[r.Code]
		if !seen {
			i = len(out)
			at[r.Code] = i
			out = append(out, Refusal{Code: r.Code})
		}
		if last[r.Code] != r.Node || out[i].Nodes == 0 {
			last[r.Code] = r.Node
			out[i].Nodes++
		}
		if out[i].Nodes <= mostExamples {
			out[i].First = append(out[i].First, r)
		}
	}
	return out
}
