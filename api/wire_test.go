package api

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// travelling is one of everything that goes over the wire.
var travelling = []any{JudgeRequest{}, HeldMove{}, WhyRequest{}, WhyReply{}, WhyChain{}, WhyLink{}, WhyNotRequest{}, WhyNotReply{}, NodeScore{},
	Meta{}, DeclareRequest{}, DeclareReply{}, LabelRequest{}, LabelReply{}, Ack{}, NodeRequest{}, DrainRequest{}, DrainReply{}, ApplyRequest{}, ApplyReply{},
	AppRequest{}, HookRequest{}, PlacementRequest{}, DeclarationView{}, MoveRequest{}, EvacuateRequest{}, RebalanceRequest{}, RebalanceReply{}, MigrationRequest{}, PolicyRequest{}, FreezeRequest{}, ListRequest{},
	StableRequest{}, StableReply{}, OrderRequest{}, OrderReply{}, EventListRequest{}, EventListReply{}, Place{}, AuditListRequest{}, AuditListReply{},
	Load{}, NodeView{}, NodeDetail{}, AppView{}, AppDetail{}, StandbysView{}, LossView{}, LeftView{}, InstanceView{}, MigrationView{}, MigrationDetail{}, StepView{}, PendingView{}, StayView{}, PreviewRequest{},
	PreviewReply{}, PlannedMove{}, PolicyReply{}, StateReply{}, AuditRecord{}, StepReport{}, Lease{}, InstanceHealth{}, LostData{}, DataHealth{}, FencedEpoch{}, Beat{}, LogsRequest{}, LogsReply{}, Error{},
	Bound{}, Evenness{}, StopRequest{}, RebalanceView{}, RebalanceStatus{}, NodeOrder{},
}

// What is sent is what arrives, in every field: no two fields of a message share a name, and none is forgotten on the way.
func TestMessagesRoundTrip(t *testing.T) {
	for _, zero := range travelling {
		typ := reflect.TypeOf(zero)
		t.Run(typ.Name(), func(t *testing.T) {
			sent := reflect.New(typ)
			n := 0
			fill(t, sent.Elem(), &n)
			raw, err := json.Marshal(sent.Interface())
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(typ)
			if err := json.Unmarshal(raw, got.Interface(), json.RejectUnknownMembers(true)); err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			if d := cmp.Diff(sent.Interface(), got.Interface(), cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
				t.Errorf("(-sent +arrived)\n%s\n%s", d, raw)
			}
			if err := events.CheckJSON(raw, MaxRequest, MaxDepth); strings.HasSuffix(typ.Name(), "Request") && err != nil {
				t.Errorf("a request that a service would refuse: %v", err)
			}
		})
	}
}

// fill sets every field that travels, each to another value.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 15, 10, 30, *n%60, 0, time.UTC)))
		return
	case jsontext.Value:
		v.Set(reflect.ValueOf(jsontext.Value(fmt.Sprintf(`{"n":%d}`, *n))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("s", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, k, n)
		fill(t, e, n)
		v.SetMapIndex(k, e)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(t, v.Field(i), n)
			}
		}
	default:
		t.Fatalf("a %s is not known here", v.Type())
	}
}

// Whatever the package declares with JSON names is in the list above.
func TestMessagesAreAllListed(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range travelling {
		listed[reflect.TypeOf(m).Name()] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			decl, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := decl.Type.(*ast.StructType); ok && s.Fields.NumFields() > 0 && s.Fields.List[0].Tag != nil {
				seen++
				if !listed[decl.Name.Name] {
					t.Errorf("%s travels and is not tested", decl.Name.Name)
				}
			}
			return true
		})
	}
	if seen < 40 {
		t.Errorf("%d messages found", seen)
	}
}

// Lists that scripts read are [] when empty and never null: `jq '.moves[]'` must not fail on nothing.
func TestEmptyListsAreLists(t *testing.T) {
	for _, m := range []any{PreviewReply{}, StableReply{}, OrderReply{}, RebalanceReply{}, NodeDetail{}, AppDetail{}, MigrationDetail{}, AuditListReply{}, EventListReply{}, ApplyReply{}} {
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]jsontext.Value
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatal(err)
		}
		for name, v := range members {
			if string(v) == "null" && name != "started" { // a migration that has not started: no list
				t.Errorf("%T: %s is null", m, name)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	e := Refuse(CodePending, "move %s: no node can take it", "convex")
	if e.Error() != "move convex: no node can take it" {
		t.Errorf("got %q", e.Error())
	}
	e.Rejections = []events.Rejection{{Node: "node-3", Code: events.RuleLabel, Detail: "label role=storage missing (has role=compute)"}, {Node: "node-4", Code: events.RuleCordoned, Detail: "cordoned"}}
	want := "move convex: no node can take it\n  node-3: label role=storage missing (has role=compute)\n  node-4: cordoned"
	if e.Error() != want {
		t.Errorf("got %q, want %q", e.Error(), want)
	}
	for err, want := range map[error]Code{e: CodePending, fmt.Errorf("app move: %w", e): CodePending, errors.New("boom"): CodeInternal} {
		if got := CodeOf(err); got != want {
			t.Errorf("CodeOf(%v) = %s, want %s", err, got, want)
		}
	}
}

// Each endpoint has a subject of its own, below the api branch, and a service that exists.
func TestEndpoints(t *testing.T) {
	s, err := events.NewSubjects("prod")
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]bool{}
	for _, e := range []Endpoint{NodeDeclare, NodeLabel, NodeCordon, NodeUncordon, NodeLost, NodeRemove, NodeList, NodeShow, NodeDrain, NodeDrainCancel, NodeStable,
		AppApply, AppRemove, AppRestart, AppHook, AppPlacement, AppMove, AppEvacuate, AppList, AppShow, AppWhy, AppWhyNot, PlanPreview, OrderStatus, StateShow, MigrationList, MigrationShow, MigrationCancel, MigrationApprove, MigrationDeny, PolicyShow,
		RebalanceStop, RebalanceShow, AppUnevacuate,
		PolicySet, MovesFreeze, MovesUnfreeze, AppRebalance, EventList, AuditList, LogsEndpoint("node-1"), LogsEndpoint("node-2")} {
		subject := s.API(e.Noun, e.Verb)
		if taken[subject] {
			t.Errorf("%s is taken twice", subject)
		}
		taken[subject] = true
		if err := spec.ValidateName("token", e.Noun); err != nil {
			t.Error(err)
		}
		if err := spec.ValidateName("token", e.Verb); err != nil {
			t.Error(err)
		}
		switch e.Service {
		case events.Labeler, events.Planner, events.Rebalancer, events.Auditor:
		case "agent":
			if e.Command {
				t.Errorf("%s: an agent stores no events", subject)
			}
		default:
			t.Errorf("%s is answered by %q", subject, e.Service)
		}
	}
}
