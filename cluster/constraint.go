package cluster

import (
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/spec"
)

// Constraint says where an app may run, or where it would rather. It is an option of App, and what UpdatePlacement takes.
type Constraint interface {
	AppOption
	constrain(*spec.App) error
}

type constraint func(*spec.App) error

func (f constraint) constrain(s *spec.App) error { return f(s) }

func (f constraint) option(a *Application) {
	if err := f(&a.spec); err != nil {
		a.fault("%v", err)
	}
}

// OnLabel allows only nodes with that value of a label.
func OnLabel(key, value string) Constraint { return labelRule("OnLabel", key, value, "=") }

// AvoidLabel allows only nodes without that value of a label.
func AvoidLabel(key, value string) Constraint { return labelRule("AvoidLabel", key, value, "!=") }

func labelRule(name, key, value, op string) Constraint {
	return constraint(func(s *spec.App) error {
		if err := checkLabel(name, key, value); err != nil {
			return err
		}
		s.Require = append(slices.Clip(s.Require), key+op+value)
		return nil
	})
}

func checkLabel(name, key, value string) error {
	if err := spec.ValidateLabelKey(key); err != nil {
		return fmt.Errorf("%s(%q, %q): %w", name, key, value, err)
	}
	if err := spec.ValidateLabelValue(key, value); err != nil {
		return fmt.Errorf("%s(%q, %q): %w", name, key, value, err)
	}
	return nil
}

// Require allows only nodes whose labels match a selector in the grammar of Kubernetes: "zone in (a,b),!gpu".
func Require(selector string) Constraint {
	return constraint(func(s *spec.App) error {
		if _, err := spec.ParseSelector(selector); err != nil {
			return fmt.Errorf("Require(%q): %w", selector, err)
		}
		s.Require = append(slices.Clip(s.Require), selector)
		return nil
	})
}

// OnNodes allows only these nodes.
func OnNodes(nodes ...string) Constraint {
	return constraint(func(s *spec.App) error {
		if len(nodes) == 0 {
			return fmt.Errorf("OnNodes: name at least one node")
		}
		s.OnNodes = append(slices.Clip(s.OnNodes), nodes...)
		return nil
	})
}

// WithApp allows only nodes where another app runs.
func WithApp(app string) Constraint {
	return constraint(func(s *spec.App) error {
		s.WithApp = append(slices.Clip(s.WithApp), app)
		return nil
	})
}

// SpreadOver keeps at most maxSkew more instances on nodes with one value of a label than on nodes with another.
func SpreadOver(label string, maxSkew int) Constraint {
	return constraint(func(s *spec.App) error {
		if err := spec.ValidateLabelKey(label); err != nil {
			return fmt.Errorf("SpreadOver: %w", err)
		}
		if maxSkew < 1 {
			return fmt.Errorf("SpreadOver(%q, %d): want a skew of at least 1", label, maxSkew)
		}
		s.SpreadOver = append(slices.Clip(s.SpreadOver), spec.SpreadOver{Label: label, MaxSkew: maxSkew})
		return nil
	})
}

// AwayFromApp never shares a node with another app.
func AwayFromApp(app string) Constraint {
	return constraint(func(s *spec.App) error {
		s.AwayFromApp = append(slices.Clip(s.AwayFromApp), app)
		return nil
	})
}

// Resources is what one instance needs of a node: cores such as "2", "0.5" or "500m", and memory such as "4Gi"; "" is nothing.
func Resources(cpu, memory string) Constraint {
	return constraint(func(s *spec.App) error {
		var r spec.Resources
		if cpu != "" {
			if err := r.CPU.UnmarshalText([]byte(cpu)); err != nil {
				return fmt.Errorf("Resources: %w", err)
			}
		}
		if memory != "" {
			if err := r.Memory.UnmarshalText([]byte(memory)); err != nil {
				return fmt.Errorf("Resources: %w", err)
			}
		}
		s.Resources = r
		return nil
	})
}

// DefaultWeight is the weight of a preference that says none. Weights go from -100 to 100; a negative one is a dislike.
const DefaultWeight = 50

// PreferLabel prefers nodes with that value of a label, with one weight at most.
func PreferLabel(key, value string, weight ...int) Constraint {
	return constraint(func(s *spec.App) error {
		if err := checkLabel("PreferLabel", key, value); err != nil {
			return err
		}
		w := DefaultWeight
		switch len(weight) {
		case 0:
		case 1:
			w = weight[0]
		default:
			return fmt.Errorf("PreferLabel(%q, %q): it has %d weights", key, value, len(weight))
		}
		return prefer(s, fmt.Sprintf("PreferLabel(%q, %q, %d)", key, value, w), spec.Preference{Label: key + "=" + value, Weight: w})
	})
}

// PreferNode prefers a node.
func PreferNode(node string, weight int) Constraint {
	return constraint(func(s *spec.App) error {
		if err := spec.ValidateName("node", node); err != nil {
			return fmt.Errorf("PreferNode: %w", err)
		}
		return prefer(s, fmt.Sprintf("PreferNode(%q, %d)", node, weight), spec.Preference{Node: node, Weight: weight})
	})
}

func prefer(s *spec.App, what string, p spec.Preference) error {
	if p.Weight == 0 || p.Weight < -100 || p.Weight > 100 {
		return fmt.Errorf("%s: want a weight of -100 to 100 that is not 0", what)
	}
	s.Prefer = append(slices.Clip(s.Prefer), p)
	return nil
}
