package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseSelector reads the Kubernetes selector grammar: terms joined by commas, each one of k=v, k==v, k!=v, k in (a,b),
// k notin (a,b), k, !k, k>3 and k<3. The empty string is an error: a rule that says nothing is a mistake. An error gives the
// position, counted in bytes from 1, and what was expected there.
func ParseSelector(s string) (Selector, error) {
	if len(s) > MaxSelectorBytes {
		return Selector{}, fmt.Errorf("selector %s: %d bytes long, want at most %d", quoteShort(s), len(s), MaxSelectorBytes)
	}
	p := selectorParser{in: s}
	terms, err := p.terms()
	if err != nil {
		return Selector{}, fmt.Errorf("selector %s: %w", quoteShort(s), err)
	}
	slices.SortFunc(terms, Term.compare)
	terms = slices.CompactFunc(terms, func(a, b Term) bool { return a.compare(b) == 0 })
	sel := Selector{terms: terms}
	// The canonical form has spaces that the input may lack, and it must parse too.
	if n := len(sel.String()); n > MaxSelectorBytes {
		return Selector{}, fmt.Errorf("selector %s: %d bytes long with canonical spacing, want at most %d", quoteShort(s), n, MaxSelectorBytes)
	}
	return sel, nil
}

type selectorParser struct {
	in  string
	pos int
}

func (p *selectorParser) terms() ([]Term, error) {
	var terms []Term
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		if terms = append(terms, t); len(terms) > MaxSelectorTerms {
			return nil, fmt.Errorf("more than %d terms", MaxSelectorTerms)
		}
		if p.space(); p.pos == len(p.in) {
			return terms, nil
		}
		if !p.accept(",") {
			return nil, p.expected(`"," or the end`)
		}
	}
}

func (p *selectorParser) term() (Term, error) {
	if p.accept("!") {
		key, err := p.key()
		return Term{Key: key, Op: DoesNotExist}, err
	}
	key, err := p.key()
	if err != nil {
		return Term{}, err
	}
	switch {
	case p.accept("=="), p.accept("="):
		v, err := p.value(key)
		return Term{Key: key, Op: Equal, Values: []string{v}}, err
	case p.accept("!="):
		v, err := p.value(key)
		return Term{Key: key, Op: NotEqual, Values: []string{v}}, err
	case p.accept(">"):
		v, err := p.integer()
		return Term{Key: key, Op: GreaterThan, Values: []string{v}}, err
	case p.accept("<"):
		v, err := p.integer()
		return Term{Key: key, Op: LessThan, Values: []string{v}}, err
	}
	before := p.pos
	switch word := p.word(); word {
	case "":
		return Term{Key: key, Op: Exists}, nil
	case string(In), string(NotIn):
		values, err := p.set(key, word)
		return Term{Key: key, Op: Operator(word), Values: values}, err
	}
	p.pos = before
	return Term{}, p.expected(`one of = == != in notin > < "," or the end`)
}

func (p *selectorParser) key() (string, error) {
	p.space()
	start := p.pos
	key := p.word()
	if key == "" {
		return "", p.expected("a label key")
	}
	if err := ValidateLabelKey(key); err != nil {
		return "", fmt.Errorf("position %d: %w", start+1, err)
	}
	return key, nil
}

func (p *selectorParser) value(key string) (string, error) {
	p.space()
	start := p.pos
	v := p.word()
	if err := ValidateLabelValue(key, v); err != nil {
		return "", fmt.Errorf("position %d: %w", start+1, err)
	}
	return v, nil
}

func (p *selectorParser) integer() (string, error) {
	p.space()
	start := p.pos
	v, err := strconv.ParseInt(p.word(), 10, 64)
	if err != nil || v < 0 {
		p.pos = start
		return "", p.expected("an integer, 0 or more")
	}
	return strconv.FormatInt(v, 10), nil
}

// set accepts empty values, because a label value may be empty: "()" holds one, the empty value.
func (p *selectorParser) set(key, operator string) ([]string, error) {
	if !p.accept("(") {
		return nil, p.expected(`"(" after ` + operator)
	}
	var values []string
	for {
		v, err := p.value(key)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		if p.accept(")") {
			slices.Sort(values)
			return slices.Compact(values), nil
		}
		if !p.accept(",") {
			return nil, p.expected(`"," or ")"`)
		}
	}
}

func (p *selectorParser) space() {
	for p.pos < len(p.in) && strings.IndexByte(" \t\r\n", p.in[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *selectorParser) accept(token string) bool {
	p.space()
	if !strings.HasPrefix(p.in[p.pos:], token) {
		return false
	}
	p.pos += len(token)
	return true
}

// word takes everything up to the next space or operator, so that a bad character is reported with the whole key or value.
func (p *selectorParser) word() string {
	p.space()
	rest := p.in[p.pos:]
	n := strings.IndexAny(rest, " \t\r\n=!<>(),")
	if n < 0 {
		n = len(rest)
	}
	p.pos += n
	return rest[:n]
}

func (p *selectorParser) expected(what string) error {
	p.space()
	at, found := p.pos+1, "the end"
	if rest := p.in[p.pos:]; rest != "" {
		before := p.pos
		if found = quoteShort(p.word()); p.pos == before {
			found = strconv.Quote(rest[:1])
		}
		p.pos = before
	}
	return fmt.Errorf("position %d: want %s, found %s", at, what, found)
}
