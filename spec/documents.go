package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	yaml "go.yaml.in/yaml/v2"
)

// maxExpanded limits what a file may grow to through YAML aliases, which can otherwise turn kilobytes into gigabytes.
const maxExpanded = 4 * MaxSpecBytes

// documents returns each document of a YAML or JSON file as JSON. Empty documents are left out.
func documents(data []byte) ([]jsontext.Value, error) {
	if len(data) > MaxSpecBytes {
		return nil, fmt.Errorf("the file has more than %d bytes", MaxSpecBytes)
	}
	if at := invalidUTF8(data); at >= 0 {
		return nil, fmt.Errorf("byte %d is not UTF-8 text", at+1)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// JSON goes its own way because YAML forbids the tabs that JSON may be indented with. Duplicates are reported later, with
	// their path.
	if v := jsontext.Value(data); v.IsValid(jsontext.AllowDuplicateNames(true)) {
		return []jsontext.Value{v}, nil
	}
	var (
		docs []jsontext.Value
		dec  = yaml.NewDecoder(bytes.NewReader(data))
	)
	dec.SetStrict(true)
	budget := maxExpanded
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, yamlError(err)
		}
		if v == nil {
			continue
		}
		c := yamlConverter{budget: &budget}
		converted := c.value(v, "", 0)
		if budget < 0 {
			return nil, fmt.Errorf("the aliases of the file expand it beyond %d bytes", maxExpanded)
		}
		if err := c.faults.err(); err != nil {
			return nil, err
		}
		doc, err := json.Marshal(converted, json.Deterministic(true))
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
}

// yamlError says the line and the reason without the library's framing.
func yamlError(err error) error {
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var f faults
	for _, e := range typed.Errors {
		f.addf("", "%s", strings.Replace(e, "already set in map", "given twice", 1))
	}
	return f.err()
}

// yamlConverter turns decoded YAML into what JSON can hold. It stops, with a negative budget, when the value is too large.
type yamlConverter struct {
	faults faults
	budget *int
}

func (c *yamlConverter) value(v any, path string, depth int) any {
	if *c.budget--; *c.budget < 0 {
		return nil
	}
	switch v := v.(type) {
	case map[any]any:
		if c.tooDeep(path, depth) {
			return nil
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			key, ok := k.(string)
			if !ok {
				c.faults.addf(path, "key %v: want a string: quote it", k)
				continue
			}
			*c.budget -= len(key)
			out[key] = c.value(e, member(path, key), depth+1)
		}
		return out
	case []any:
		if c.tooDeep(path, depth) {
			return nil
		}
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = c.value(e, at(path, i), depth+1)
		}
		return out
	case string:
		if *c.budget -= len(v); !utf8.ValidString(v) {
			c.faults.addf(path, "binary data: want text")
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			c.faults.addf(path, "%v: want a finite number", v)
			return nil
		}
	}
	return v
}

func (c *yamlConverter) tooDeep(path string, depth int) bool {
	if depth < maxNesting {
		return false
	}
	c.faults.addf(path, "nested deeper than %d levels", maxNesting)
	return true
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}
