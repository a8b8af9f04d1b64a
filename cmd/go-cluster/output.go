package main

import (
	"cmp"
	"fmt"
	"io"
	"sync"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"sigs.k8s.io/yaml"
)

// Formats of --output.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

var formats = []string{formatTable, formatWide, formatJSON, formatYAML}

// results is a writer that remembers what it could not write: a script must not take half a result for a whole one.
type results struct {
	io.Writer

	mu    sync.Mutex
	first error
}

// Write implements io.Writer.
func (r *results) Write(b []byte) (int, error) {
	n, err := r.Writer.Write(b)
	if err != nil {
		r.mu.Lock()
		r.first = cmp.Or(r.first, err)
		r.mu.Unlock()
	}
	return n, err
}

func (r *results) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// structured reports whether stdout carries data for programs; everything for people then goes to stderr.
func (s *session) structured() bool { return s.Output == formatJSON || s.Output == formatYAML }

func (s *session) wide() bool { return s.Output == formatWide }

// say is where a command's closing words for people go.
func (s *session) say() io.Writer {
	if s.structured() {
		return s.err
	}
	return s.out
}

// sayf prints one line for people.
func (s *session) sayf(format string, args ...any) { fmt.Fprintf(s.say(), format+"\n", args...) }

// notef prints one line of progress.
func (s *session) notef(format string, args ...any) { fmt.Fprintf(s.err, format+"\n", args...) }

// print writes v for programs or, when the format is for people, calls table.
func (s *session) print(v any, table func()) error {
	if !s.structured() {
		table()
		return nil
	}
	return s.data(v)
}

// data writes v in the structured format asked for; for people it writes nothing.
func (s *session) data(v any) error {
	if !s.structured() {
		return nil
	}
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("write the result as JSON: %w", err)
	}
	return s.raw(b, jsontext.WithIndent("  "))
}

// raw writes one JSON value in the structured format asked for.
func (s *session) raw(v jsontext.Value, options ...jsontext.Options) error {
	b := v.Clone()
	var err error
	if s.Output == formatYAML {
		b, err = yaml.JSONToYAML(b)
	} else if err = b.Format(options...); err == nil {
		b = append(b, '\n')
	}
	if err != nil {
		return fmt.Errorf("write the result as %s: %w", s.Output, err)
	}
	_, err = s.out.Write(b)
	return err
}
