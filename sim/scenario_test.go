package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// scenario is a cluster and what happens to it, and when: what a file in testdata says and what a seed makes up.
//
//	# a comment
//	node n1 zone=a tier=x
//	services s1 s2
//	program ledger mode=singleton log=true
//	seed 7
//	0s    apply db mode=singleton require=["tier=x"]
//	12.5s cut n1
//	1m    heal n1
//	2m    steady
//
// An event has a time since the cluster stood, a verb and what the verb takes; verbs has them all.
type scenario struct {
	name     string
	nodes    map[string]map[string]string
	services []string
	programs [][]string // apps that the program of each node declares, as apply has them
	steps    []happening
}

// happening is one thing that is done to the cluster, or wanted of it.
type happening struct {
	at   time.Duration
	verb string
	args []string
}

func (h happening) String() string {
	return strings.TrimSpace(fmt.Sprintf("%-9s %s %s", h.at, h.verb, strings.Join(h.args, " ")))
}

// String returns the scenario as a file has it.
func (s scenario) String() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
		fmt.Fprintf(&b, "node %s%s\n", id, labelled(s.nodes[id]))
	}
	fmt.Fprintf(&b, "services %s\n", strings.Join(s.services, " "))
	for _, words := range s.programs {
		fmt.Fprintf(&b, "program %s\n", strings.Join(words, " "))
	}
	for _, h := range s.steps {
		fmt.Fprintln(&b, h)
	}
	return b.String()
}

func labelled(labels map[string]string) string {
	s := ""
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		s += " " + k + "=" + labels[k]
	}
	return s
}

// parse reads a scenario.
func parse(name, text string) (scenario, error) {
	s := scenario{name: name, nodes: map[string]map[string]string{}, services: []string{"s1"}}
	for i, line := range strings.Split(text, "\n") {
		words, err := split(line)
		if err == nil && len(words) > 0 {
			err = s.line(words)
		}
		if err != nil {
			return s, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	if len(s.nodes) == 0 {
		return s, fmt.Errorf("%s: no node", name)
	}
	slices.SortStableFunc(s.steps, func(x, y happening) int { return int(x.at - y.at) })
	return s, nil
}

func (s *scenario) line(words []string) error {
	switch words[0] {
	case "node":
		if len(words) < 2 {
			return fmt.Errorf("a node needs an id")
		}
		labels, err := pairs(words[2:])
		s.nodes[words[1]] = labels
		return err
	case "program":
		s.programs = append(s.programs, words[1:])
		if len(words) < 2 {
			return fmt.Errorf("a program of which app?")
		}
		_, err := declaredOf(words[1:])
		return err
	case "services":
		s.services = words[1:]
		if len(words) < 2 {
			return fmt.Errorf("services of which processes?")
		}
		return nil
	}
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return fmt.Errorf("%q is neither node, services, program nor a time", words[0])
	}
	if len(words) < 2 {
		return fmt.Errorf("nothing happens at %s", at)
	}
	h := happening{at: at, verb: words[1], args: words[2:]}
	v, known := verbs[h.verb]
	if !known {
		return fmt.Errorf("unknown verb %q", h.verb)
	}
	if len(h.args) < v.least {
		return fmt.Errorf("%s takes %s", h.verb, v.takes)
	}
	s.steps = append(s.steps, h)
	return nil
}

// split cuts a line at blanks outside of quotes and brackets, and leaves out a comment.
func split(line string) (words []string, err error) {
	word, depth, quoted := "", 0, false
	for i, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '#' && depth == 0 && (i == 0 || line[i-1] == ' '):
			return words, nil
		case r == '[', r == '{':
			depth++
		case r == ']', r == '}':
			depth--
		case r == ' ' && depth == 0:
			if word != "" {
				words = append(words, word)
			}
			word = ""
			continue
		}
		word += string(r)
	}
	if quoted || depth != 0 {
		return nil, fmt.Errorf("a quote or a bracket is open: %s", line)
	}
	if word != "" {
		words = append(words, word)
	}
	return words, nil
}

// pairs reads k=v words.
func pairs(words []string) (map[string]string, error) {
	out := map[string]string{}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not key=value", w)
		}
		if unquoted, err := strconv.Unquote(v); err == nil {
			v = unquoted
		}
		out[k] = v
	}
	return out, nil
}

// play does to a cluster what a scenario says, until a law is broken.
func (r *runner) play() {
	for _, h := range r.s.steps {
		if wait := h.at - time.Since(r.began); wait > 0 {
			r.c.For(wait)
		}
		if len(r.c.broken()) > 0 || r.c.T.Failed() {
			return
		}
		r.tell("%s %s", h.verb, strings.Join(h.args, " "))
		if err := verbs[h.verb].do(r, h.args); err != nil {
			r.c.T.Errorf("%s: %v", h, err)
		}
	}
}

// start runs a cluster as the scenario has it.
func (s scenario) start(t *testing.T, f func(r *runner)) {
	t.Helper()
	var programs []spec.App
	for _, words := range s.programs {
		app, err := declaredOf(words)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, app)
	}
	RunPrograms(t, s.nodes, programs, func(c *Cluster) {
		for _, id := range s.services {
			if c.replicas[id] == nil {
				c.StartServices(id)
			}
		}
		f(newRunner(c, s))
	})
}
