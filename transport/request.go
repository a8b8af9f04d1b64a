package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// Request is a command or question that has passed the door: its JSON is sound, and as a command it has an id and is in time.
type Request struct {
	Endpoint api.Endpoint
	Meta     api.Meta
	Actor    string // "nats:<account>/<user>" where NATS vouches for it, else what the request says of itself, or "unknown"
	Raw      []byte
}

// Handler answers one request; the reply is marshalled as JSON. An *api.Error goes to the client as it is; any other error is a
// fault of ours. It is called from many goroutines at once, and ctx ends when the time for the answer is up.
type Handler func(ctx context.Context, r *Request) (any, error)

const (
	requestInfoHeader = "Nats-Request-Info" // set by the server on requests over a service import with share: true
	verifiedActor     = "nats:"
	maxID             = 128
)

// Decode reads a request's content strictly: a field that the type does not have, one that is there twice, and text that is not
// UTF-8 are refused, since each would otherwise be an instruction not carried out. The error is an *api.Error with the field.
func Decode[T any](r *Request) (T, error) {
	var v T
	if err := events.CheckJSON(r.Raw, api.MaxRequest, api.MaxDepth); err != nil {
		return v, refuseJSON(r.Endpoint, err)
	}
	if err := json.Unmarshal(r.Raw, &v, json.RejectUnknownMembers(true)); err != nil {
		var none T
		return none, refuseJSON(r.Endpoint, err)
	}
	return v, nil
}

func refuseJSON(e api.Endpoint, err error) *api.Error {
	var (
		semantic *json.SemanticError
		syntax   *jsontext.SyntacticError
		at       jsontext.Pointer
		why      = err.Error()
	)
	switch {
	case errors.As(err, &semantic):
		at = semantic.JSONPointer
		switch {
		case errors.Is(err, json.ErrUnknownName):
			why = "unknown field"
		case semantic.Err != nil:
			why = semantic.Err.Error()
		default:
			why = fmt.Sprintf("JSON %s does not fit here", semantic.JSONKind)
		}
	case errors.As(err, &syntax):
		at, why = syntax.JSONPointer, syntax.Err.Error()
		if errors.Is(err, jsontext.ErrDuplicateName) {
			why = "it is there twice"
		}
	}
	field := strings.Join(tokens(at), ".")
	detail := fmt.Sprintf("%s.%s: malformed request: %s", e.Noun, e.Verb, why)
	if field != "" {
		detail = fmt.Sprintf("%s.%s: malformed request: %s: %s", e.Noun, e.Verb, field, why)
	}
	return &api.Error{Code: api.CodeInvalid, Detail: cut(detail, 1000), Field: cut(field, 200)}
}

func tokens(p jsontext.Pointer) []string {
	var out []string
	for t := range p.Tokens() {
		out = append(out, t)
	}
	return out
}

// cut bounds text that repeats what a stranger sent, and makes it one line.
func cut(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// open reads what every request has, without judging the rest: that is Decode's, with the handler's type.
func open(e api.Endpoint, m *nats.Msg, trustInfo bool) (*Request, *api.Error) {
	r := &Request{Endpoint: e, Raw: m.Data}
	if err := events.CheckJSON(m.Data, api.MaxRequest, api.MaxDepth); err != nil {
		return r, refuseJSON(e, err)
	}
	if err := json.Unmarshal(m.Data, &r.Meta); err != nil {
		return r, refuseJSON(e, err)
	}
	invalid := func(field, why string) (*Request, *api.Error) {
		return r, &api.Error{Code: api.CodeInvalid, Field: field, Detail: fmt.Sprintf("%s.%s: malformed request: %s: %s", e.Noun, e.Verb, field, why)}
	}
	if !plain(r.Meta.Actor) || strings.HasPrefix(r.Meta.Actor, verifiedActor) {
		return invalid("actor", "want at most 128 printable ASCII characters, not starting with "+verifiedActor)
	}
	if !plain(r.Meta.ID) {
		return invalid("id", "want at most 128 printable ASCII characters")
	}
	if e.Command && r.Meta.ID == "" {
		return invalid("id", "a command needs one, so that it can be repeated")
	}
	if e.Command && r.Meta.Expires.IsZero() {
		return invalid("expires", "a command needs one, so that a late one does no harm")
	}
	actor, err := actorOf(r.Meta, m.Header, trustInfo)
	if err != nil {
		return invalid(requestInfoHeader, err.Error())
	}
	r.Actor = actor
	return r, nil
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) <= maxID
}

// actorOf takes NATS's word where it can be had. The server sets the header on requests that come over a service import from
// another account, and overwrites a forged one; inside one account anyone can set it, so that it counts only where the deployment
// says that no stranger shares the services' account.
func actorOf(meta api.Meta, h nats.Header, trustInfo bool) (string, error) {
	if values := h.Values(requestInfoHeader); trustInfo && len(values) > 0 {
		var info struct {
			Account string `json:"acc"`
			User    string `json:"user"`
		}
		if len(values) > 1 {
			return "", errors.New("it is there twice")
		}
		if err := json.Unmarshal([]byte(values[0]), &info); err != nil {
			return "", err
		}
		actor := verifiedActor + info.Account + "/" + info.User
		if info.Account == "" || info.User == "" || !plain(info.Account) || !plain(info.User) {
			return "", errors.New("it names no account and user")
		}
		return actor, nil
	}
	if meta.Actor != "" {
		return meta.Actor, nil
	}
	return "unknown", nil
}
