package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

const twoApps = `name: convex
mode: singleton
process: {command: [convex]}
---
name: web
mode: replicas
replicas: 2
process: {command: [web]}
`

func TestApply(t *testing.T) {
	var sent atomic.Int32
	p := servePlane(t, "apply", answers{
		api.AppApply: answer(func(r api.ApplyRequest) (any, error) {
			sent.Add(1)
			if r.Spec.Name == "web" {
				return api.ApplyReply{Ack: api.Ack{Seq: 1}, SpecRev: 4}, nil
			}
			return api.ApplyReply{Ack: api.Ack{Seq: 1, Changed: true, Order: "o1"}, SpecRev: 1, Warnings: []string{"no health check: started counts as healthy"}}, nil
		}),
		api.AppShow: answer(func(r api.AppRequest) (any, error) {
			return api.AppDetail{AppView: api.AppView{Name: r.App, State: api.AppRunning, Running: 1, Desired: 1, Nodes: []string{"node-1"}}}, nil
		}),
		api.MigrationList: always[api.ListRequest]([]api.MigrationView{}),
		api.PlanPreview:   always[api.PreviewRequest](api.PreviewReply{}),
	})
	p.states["o1"] = []api.OrderReply{{State: api.OrderCompleted}}
	file := filepath.Join(t.TempDir(), "apps.yaml")
	if err := os.WriteFile(file, []byte(twoApps), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cli("app", "apply", "-f", file).want(t, exitDone, "convex runs on node-1 (1/1)\nweb runs on node-1 (1/1)\n",
		"convex applied (revision 1)", "warning: convex: no health check", "web unchanged (revision 4)")
	args := []string{"--server", server.ClientURL(), "--cluster", p.cluster, "app", "apply", "-f", "-"}
	if o := cli(t.Context(), twoApps, args...); o.code != exitDone {
		t.Errorf("from standard input: %+v", o)
	}
	if o := cli(t.Context(), twoApps, append(args, "--detach", "-o", "json")...); len(decode[[]api.ApplyReply](t, o.out)) != 2 || o.code != exitDone {
		t.Errorf("detached: %+v", o)
	}
	sent.Store(0)
	for _, tc := range []struct {
		name, text string
		code       int
		parts      []string
	}{
		{"two faults in two apps", strings.Replace(strings.Replace(twoApps, "name: web", "name: Web", 1), "{command: [convex]}", "{}", 1), exitUsage,
			[]string{"error: nothing applied: 2 faults", "\n  -: convex: process.command: ", "\n  -: Web: name: "}},
		{"an unknown key", strings.Replace(twoApps, "replicas: 2", "replica: 2", 1), exitUsage, []string{"document 2: replica: "}},
		{"unsupported", strings.Replace(twoApps, "mode: singleton", "mode: ring\npartitions: 8", 1), exitRefused,
			[]string{"error: nothing applied: 2 faults", "-: convex: mode: ring is not supported by this version"}},
		{"the same app twice", twoApps + "---\n" + twoApps, exitUsage, []string{"already"}},
		{"empty", "", exitUsage, []string{"-: no app"}},
	} {
		o := cli(t.Context(), tc.text, args...)
		t.Run(tc.name, func(t *testing.T) { o.want(t, tc.code, "", tc.parts...) })
	}
	p.cli("app", "apply", "-f", filepath.Join(t.TempDir(), "none.yaml")).want(t, exitUsage, "", "no such file")
	if n := sent.Load(); n != 0 {
		t.Errorf("%d apps applied from bad files", n)
	}
}

func TestApplyEndsWhenAnAppDoesNotRun(t *testing.T) {
	p := servePlane(t, "applyfail", answers{
		api.AppApply: always[api.ApplyRequest](api.ApplyReply{Ack: api.Ack{Seq: 1, Changed: true, Order: "o1"}, SpecRev: 1}),
	})
	args := []string{"--server", server.ClientURL(), "--cluster", p.cluster, "app", "apply", "-f", "-"}
	one, _, _ := strings.Cut(twoApps, "---")
	p.states["o1"] = []api.OrderReply{{State: api.OrderOpen, Left: []string{"convex-0"},
		Stuck: []api.PendingView{{App: "convex", Instance: "convex-0", Reason: "no eligible node", Rejections: rejections()}}}}
	cli(t.Context(), one, args...).want(t, exitPending, "", "convex-0 has nowhere to go", "1Gi wanted", "look with: go-cluster app show convex")
	p.states["o1"] = []api.OrderReply{{State: api.OrderOpen, Left: []string{"convex-0"}, Migrations: []api.MigrationView{convex(api.MigrationFailed)}}}
	cli(t.Context(), one, args...).want(t, exitFailedMoves, "", "error: convex does not come up", "exec: not found")
}

func TestApplyDryRun(t *testing.T) {
	declared, err := spec.DecodeApps([]byte(twoApps))
	if err != nil {
		t.Fatal(err)
	}
	p := servePlane(t, "applydry", answers{
		api.PlanPreview: answer(func(r api.PreviewRequest) (any, error) {
			if len(r.Also) == 0 && r.Apply.Spec.Name == "convex" {
				return api.PreviewReply{}, nil
			}
			if !r.Forecast || len(r.Also) != 1 || r.Also[0].Spec.Name != "web" {
				t.Errorf("apps are not planned together: %+v", r)
			}
			return api.PreviewReply{Moves: []api.PlannedMove{{App: "web", Instance: "web-0", To: "node-1", Reason: "scale", Why: "missing", Wave: 1}}, Waves: 1,
				Bound: api.Bound{MinMoves: 1, Exact: true}, After: api.Evenness{Imbalance: 0.5}}, nil
		}),
		api.AppShow: answer(func(r api.AppRequest) (any, error) {
			if r.App == "convex" {
				return api.AppDetail{Spec: declared[0].WithDefaults()}, nil
			}
			return nil, api.Refuse(api.CodeNotFound, "no app %s", r.App)
		}),
	})
	args := []string{"--server", server.ClientURL(), "--cluster", p.cluster, "app", "apply", "-f", "-", "--dry-run", "--detailed-exitcode"}
	cli(t.Context(), twoApps, args...).want(t, exitChanges,
		"convex: unchanged\nweb: would change\nINSTANCE  MOVE      REASON  WAVE  WHY\nweb-0     → node-1  scale   1     missing\n"+
			"1 move in 1 wave: no plan needs fewer\nimbalance 0% → 50%\n")
	one, _, _ := strings.Cut(twoApps, "---")
	cli(t.Context(), one, args...).want(t, exitDone, "convex: unchanged\nnothing would move\nimbalance 0% → 0%\n")
}

// A refusal names the app once, whoever says it.
func TestApplyRefusalNamesTheAppOnce(t *testing.T) {
	p := servePlane(t, "applyrefused", answers{
		api.AppApply: answer(func(r api.ApplyRequest) (any, error) {
			if r.Spec.Name == "convex" {
				return nil, api.Refuse(api.CodeRefused, "apply convex: mode: cannot change")
			}
			return nil, api.Refuse(api.CodeUnavailable, "nobody decides")
		}),
	})
	args := []string{"--server", server.ClientURL(), "--cluster", p.cluster, "app", "apply", "-f", "-"}
	one, two, _ := strings.Cut(twoApps, "---")
	if o := cli(t.Context(), one, args...); o.code != exitRefused || !strings.Contains(o.errors, "error: apply convex: mode: cannot change\n") {
		t.Errorf("%+v", o)
	}
	if o := cli(t.Context(), two, args...); o.code != exitUnreachable || !strings.Contains(o.errors, "error: apply web: nobody decides") {
		t.Errorf("%+v", o)
	}
}
