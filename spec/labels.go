package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of the labels of one node or app.
const (
	MaxLabels     = 64
	MaxLabelBytes = 16 << 10 // keys and values together
)

const maxLabelKey = 253 + len("/") + 63

// ReservedLabelPrefix begins the keys that only the cluster itself sets.
const ReservedLabelPrefix = "go-cluster.io/"

// ReservedLabel reports whether only the cluster itself may set or remove the key.
func ReservedLabel(key string) bool { return strings.HasPrefix(key, ReservedLabelPrefix) }

// ValidateLabelKey checks a key by the Kubernetes rules: an optional DNS subdomain and "/", then a name.
func ValidateLabelKey(key string) error {
	name := key
	if prefix, rest, found := strings.Cut(key, "/"); found {
		if !isSubdomain(prefix) {
			return fmt.Errorf("label key %s: want a DNS name of at most 253 characters before %q", quoteShort(key), "/")
		}
		name = rest
	}
	if name == "" || !isLabelToken(name) {
		return fmt.Errorf(`label key %s: want 1 to 63 letters, digits, "-", "_" and ".", starting and ending with a letter or digit`,
			quoteShort(key))
	}
	return nil
}

// ValidateLabelValue checks a value by the Kubernetes rules; it may be empty. The key only words the error.
func ValidateLabelValue(key, value string) error {
	if isLabelToken(value) {
		return nil
	}
	return fmt.Errorf(`label %s=%s: want a value of at most 63 letters, digits, "-", "_" and ".", starting and ending with a letter or digit`,
		key, quoteShort(value))
}

// ValidateLabels checks every key and value and the limits of a whole set, and reports all faults, joined. Reserved keys pass:
// who may write them is for the caller to say.
func ValidateLabels(labels map[string]string) error {
	var errs []error
	size := 0
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		size += len(k) + len(labels[k])
		if err := ValidateLabelKey(k); err != nil {
			errs = append(errs, err)
		} else if err := ValidateLabelValue(k, labels[k]); err != nil {
			errs = append(errs, err)
		}
	}
	if len(labels) > MaxLabels {
		errs = append(errs, fmt.Errorf("%d labels: want at most %d", len(labels), MaxLabels))
	}
	if size > MaxLabelBytes {
		errs = append(errs, fmt.Errorf("labels of %d bytes: want at most %d", size, MaxLabelBytes))
	}
	return errors.Join(errs...)
}

// LabelChange is what one command does to a set of labels. A key is either set or removed, never both, so that the outcome
// does not depend on an order.
type LabelChange struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"` // sorted
}

// ParseLabelChange reads command line arguments: "key=value" sets a label, "key-" removes one. A key given twice and a
// reserved key are errors. All faults are reported, joined, each naming its argument.
func ParseLabelChange(args []string) (LabelChange, error) {
	var (
		change = LabelChange{Set: map[string]string{}}
		seen   = map[string]string{}
		errs   []error
	)
	if len(args) == 0 {
		return LabelChange{}, errors.New("no label given: want key=value to set one or key- to remove one")
	}
	for _, arg := range args {
		key, value, isSet := strings.Cut(arg, "=")
		if !isSet {
			k, isRemove := strings.CutSuffix(arg, "-")
			if !isRemove {
				errs = append(errs, fmt.Errorf("argument %s: want key=value to set a label or key- to remove one", quoteShort(arg)))
				continue
			}
			key = k
		}
		if err := checkLabelArgument(key, value); err != nil {
			errs = append(errs, fmt.Errorf("argument %s: %w", quoteShort(arg), err))
			continue
		}
		if first, found := seen[key]; found {
			errs = append(errs, fmt.Errorf("argument %s: label %s was already given as %q", quoteShort(arg), key, first))
			continue
		}
		seen[key] = arg
		if isSet {
			change.Set[key] = value
		} else {
			change.Remove = append(change.Remove, key)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return LabelChange{}, err
	}
	slices.Sort(change.Remove)
	return change, nil
}

func checkLabelArgument(key, value string) error {
	if err := ValidateLabelKey(key); err != nil {
		return err
	}
	if ReservedLabel(key) {
		return fmt.Errorf("label %s: the prefix %s is reserved for the cluster", key, ReservedLabelPrefix)
	}
	return ValidateLabelValue(key, value)
}

// Apply returns the labels after the change as a new map, never nil; the argument is not modified. The limits of the whole
// set are not checked here: see ValidateLabels.
func (c LabelChange) Apply(labels map[string]string) map[string]string {
	out := make(map[string]string, len(labels)+len(c.Set))
	maps.Copy(out, labels)
	for _, k := range c.Remove {
		delete(out, k)
	}
	maps.Copy(out, c.Set)
	return out
}

// isLabelToken is the rule that the name part of a key and a value share, but for the empty value.
func isLabelToken(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > 63 || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// isSubdomain allows labels longer than 63 within the 253, as the Kubernetes rule does.
func isSubdomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for i := range len(part) {
			if c := part[i]; !isLower(c) && !isDigit(c) && c != '-' {
				return false
			}
		}
	}
	return true
}
