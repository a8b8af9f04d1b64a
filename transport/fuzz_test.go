package transport

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// decoded are the decoders of everything that people, agents and programs may ask; TestEveryRequestIsFuzzed keeps them complete.
var decoded = map[string]func(*Request) (any, error){
	"LogsRequest":      any1[api.LogsRequest],
	"DeclareRequest":   any1[api.DeclareRequest],
	"LabelRequest":     any1[api.LabelRequest],
	"NodeRequest":      any1[api.NodeRequest],
	"DrainRequest":     any1[api.DrainRequest],
	"ApplyRequest":     any1[api.ApplyRequest],
	"AppRequest":       any1[api.AppRequest],
	"PlacementRequest": any1[api.PlacementRequest],
	"HookRequest":      any1[api.HookRequest],
	"MoveRequest":      any1[api.MoveRequest],
	"EvacuateRequest":  any1[api.EvacuateRequest],
	"RebalanceRequest": any1[api.RebalanceRequest],
	"StopRequest":      any1[api.StopRequest],
	"MigrationRequest": any1[api.MigrationRequest],
	"JudgeRequest":     any1[api.JudgeRequest],
	"PolicyRequest":    any1[api.PolicyRequest],
	"FreezeRequest":    any1[api.FreezeRequest],
	"ListRequest":      any1[api.ListRequest],
	"StableRequest":    any1[api.StableRequest],
	"OrderRequest":     any1[api.OrderRequest],
	"EventListRequest": any1[api.EventListRequest],
	"AuditListRequest": any1[api.AuditListRequest],
	"PreviewRequest":   any1[api.PreviewRequest],
	"WhyRequest":       any1[api.WhyRequest],
	"WhyNotRequest":    any1[api.WhyNotRequest],
}

func any1[T any](r *Request) (any, error) { return Decode[T](r) }

// Each type of package api that is named a request is decoded by FuzzRequest.
func TestEveryRequestIsFuzzed(t *testing.T) {
	files, err := filepath.Glob("../api/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var declared []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, s := range gen.Specs {
				if name := s.(*ast.TypeSpec).Name.Name; strings.HasSuffix(name, "Request") {
					declared = append(declared, name)
				}
			}
		}
	}
	slices.Sort(declared)
	if have := slices.Sorted(maps.Keys(decoded)); !slices.Equal(have, declared) {
		t.Errorf("fuzzed are %v, the requests of package api are %v", have, declared)
	}
}

// Whatever a stranger sends, it is read or refused with a code, and the refusal is one line of text.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{`{}`, `{"id":"a","expires":"2026-01-01T00:00:00Z","actor":"ana","node":"n1","set":{"a":"b"},"remove":["c"]}`,
		`{"spec":{"name":"db","mode":"singleton","require":["a=b"],"process":{"command":["x"]}}}`, `{"policy":{"migration":{"rate_limit":{"count":1,"window":"1h"}}}}`,
		`{"nodes":["n1"],"timeout":"1s"}`, `{"id":"a","id":"b"}`, `{"a":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}`, `{"app":"db","node":"n1","instance":"db-0","order":"o","migration":"m","hooks":{"x":{"url":"u"}},"specs":[{}],"limit":3,"since":"1h","after":7}`,
		"\xff", `{"min_seq":1e400}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, decode := range decoded {
			v, err := decode(&Request{Endpoint: api.Endpoint{Noun: name, Verb: "x"}, Raw: raw})
			if err == nil {
				if _, err := json.Marshal(v); err != nil {
					t.Errorf("%s: %q was read as %+v, which cannot be written: %v", name, raw, v, err)
				}
				continue
			}
			var refused *api.Error
			if !errors.As(err, &refused) || refused.Code != api.CodeInvalid {
				t.Fatalf("%s: %q: %v is no typed refusal", name, raw, err)
			}
			if len(refused.Detail) > 1100 || !utf8.ValidString(refused.Detail) || strings.ContainsFunc(refused.Detail, unicode.IsControl) {
				t.Errorf("%s: %q is refused with %q", name, raw, refused.Detail)
			}
		}
	})
}

// Whatever is published as a report is one, of the node that its subject names, or is an error.
func FuzzReport(f *testing.F) {
	f.Add("gc.c.rep.n1.step.completed", []byte(`{"order_seq":3,"migration":"m-1","app":"db","instance":"db-0","step":"activate","node":"n1","inc":"x"}`))
	f.Add("gc.c.rep.n1.step.failed", []byte(`{"order_seq":3,"failed":true,"code":"x","detail":"y"}`))
	f.Add("gc.c.rep.*.step.completed", []byte(`{}`))
	f.Add("gc.c.rep.n1", []byte("\x00"))
	s, err := events.NewSubjects("c")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, subject string, b []byte) {
		r, node, err := decodeReport(s, subject, b)
		if err != nil {
			return
		}
		if spec.ValidateName("node", node) != nil || r.OrderSeq == 0 {
			t.Errorf("%q on %q is taken for %+v of %q", b, subject, r, node)
		}
	})
}

// Whatever stands in a lease's place is a lease that holds together, or is an error.
func FuzzLease(f *testing.F) {
	for _, s := range []string{`{"state":"held","node":"n1","inc":"a.b.1","machine":"a","boot":"b","n":1,"ttl":"30s"}`, `{"state":"free","node":"n1"}`,
		`{"state":"closed","node":"n1"}`, `{"state":"held","node":"n2"}`, `{"state":"held","node":"n1","inc":"x","ttl":"-1s"}`, `[]`} {
		f.Add("n1", []byte(s))
	}
	f.Fuzz(func(t *testing.T, node string, b []byte) {
		l, err := decodeLease(node, b)
		if err != nil {
			return
		}
		if l.Node != node || l.State == api.LeaseHeld && (l.Inc == "" || l.TTL.D() < time.Nanosecond) {
			t.Errorf("%q is taken for %+v", b, l)
		}
	})
}
