package transport

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
)

func TestDecodeIsStrict(t *testing.T) {
	for raw, field := range map[string]string{
		`{"node":"n1","nod":"n2"}`:             "nod",
		`{"node":"n1","node":"n2"}`:            "node",
		`{"set":{"a":"1","a":"2"}}`:            "set.a",
		`{"node":7}`:                           "node",
		"{\"node\":\"\xff\"}":                  "node",
		`{"node":"n1"} {}`:                     "",
		`{"node":"n1"`:                         "",
		``:                                     "",
		`{"set":[[[[[[[[[[[[[[[[1]]]]]]]]]]]`:  "",
		`{"Node":"n1"}`:                        "Node",
		`{"if_revision":-1}`:                   "if_revision",
		`{"stream":"GC_test_EVENTS","seq":41}`: "stream", // an acknowledgement sent here as if it were a command
	} {
		_, err := Decode[api.LabelRequest](&Request{Endpoint: api.NodeLabel, Raw: []byte(raw)})
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.CodeInvalid || e.Field != field {
			t.Errorf("%s: got %#v, want field %q", raw, e, field)
		}
	}
	got, err := Decode[api.LabelRequest](&Request{Endpoint: api.NodeLabel, Raw: []byte(`{"id":"x","node":"n1","set":{"a":"1"}}`)})
	want := api.LabelRequest{Meta: api.Meta{ID: "x"}, Node: "n1", Set: map[string]string{"a": "1"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestActor(t *testing.T) {
	info := func(v ...string) nats.Header { return nats.Header{requestInfoHeader: v} }
	vouched := `{"acc":"USERS","user":"alice","rtt":1}`
	for name, c := range map[string]struct {
		meta  string
		h     nats.Header
		trust bool
		want  string
	}{
		"says so itself":               {"cli:ana", nil, true, "cli:ana"},
		"says nothing":                 {"", nil, true, "unknown"},
		"NATS knows better":            {"cli:ana", info(vouched), true, "nats:USERS/alice"},
		"a forger in the same account": {"cli:ana", info(vouched), false, "cli:ana"},
	} {
		got, err := actorOf(api.Meta{Actor: c.meta}, c.h, c.trust)
		if got != c.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
	for _, h := range []nats.Header{info("{"), info(vouched, vouched), info(`{"acc":"A"}`), info(`{"acc":"A","user":"a b"}`)} {
		if got, err := actorOf(api.Meta{}, h, true); err == nil {
			t.Errorf("%v: got %q, want a refusal", h, got)
		}
	}
}
