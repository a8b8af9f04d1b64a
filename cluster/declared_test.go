package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// ask sends a command as a person would.
func ask[Rep, Req any](w *world, e api.Endpoint, req func(api.Meta) Req) (Rep, error) {
	return transport.Call[Req, Rep](w.ctx, w.base.NC, w.base.Subjects, e, req(transport.NewMeta("cli:ana", time.Now(), time.Minute)))
}

// release is a program of one version: what it declares differs in the preference and in the cooldown.
func release(w *world, node string, weight int) *Platform {
	p := w.platform(node, WithMigrationPolicy(MigrationPolicy{CooldownPeriod: time.Duration(weight) * time.Second}))
	if err := p.Register(App("db", Singleton(), PreferNode("node-1", weight))); err != nil {
		w.Fatal(err)
	}
	return p
}

// The declaration that was seen first latest is in force while a node with it is ready; what a person changes stays until something is
// declared that never was before.
func TestSeveralReleases(t *testing.T) {
	inBubble(t, func(w *world) {
		inForce := func(what string, weight int, policy time.Duration) {
			t.Helper()
			w.until(what, func(v *projections.Cluster) bool {
				a := v.Apps["db"]
				return a != nil && len(a.Spec.Prefer) == 1 && a.Spec.Prefer[0].Weight == weight && v.Policy.Migration.CooldownPeriod.D() == policy
			})
		}
		w.run(release(w, "node-1", 10))
		inForce("the only release", 10, 10*time.Second)
		stop2 := w.run(release(w, "node-2", 20))
		inForce("the new release", 20, 20*time.Second)
		w.run(release(w, "node-3", 10))
		inForce("the old release joins again and has no say", 20, 20*time.Second)

		detail, err := w.platform("").App(w.ctx, "db")
		if err != nil || len(detail.Declared) != 2 || !detail.Declared[0].InForce || detail.Declared[1].InForce || detail.By != "agent:node-2" ||
			detail.Declared[1].Nodes[0] != "node-1" || detail.Declared[1].Nodes[1] != "node-3" || detail.Declared[1].App.Prefer[0].Weight != 10 {
			t.Errorf("app show: %+v by %s, %v", detail.Declared, detail.By, err)
		}
		policy, err := w.platform("").Policy(w.ctx)
		if err != nil || len(policy.Declared) != 2 || !policy.Declared[0].InForce || policy.By != "agent:node-2" {
			t.Errorf("policy show: %+v by %s, %v", policy.Declared, policy.By, err)
		}

		stop2()
		inForce("the new release is gone", 10, 10*time.Second)
		w.run(release(w, "node-2", 20))
		inForce("the new release is back", 20, 20*time.Second)

		rules := spec.Rules{Prefer: []spec.Preference{{Node: "node-3", Weight: 77}}}
		if _, err := ask[api.Ack](w, api.AppPlacement, func(m api.Meta) api.PlacementRequest { return api.PlacementRequest{Meta: m, App: "db", Rules: rules} }); err != nil {
			t.Fatal(err)
		}
		if _, err := ask[api.Ack](w, api.PolicySet, func(m api.Meta) api.PolicyRequest {
			return api.PolicyRequest{Meta: m, Policy: spec.Policy{Migration: spec.MigrationPolicy{CooldownPeriod: spec.Duration(77 * time.Second)}}}
		}); err != nil {
			t.Fatal(err)
		}
		inForce("a person's change", 77, 77*time.Second)
		w.run(release(w, "node-4", 10))
		w.run(release(w, "node-5", 20))
		inForce("known releases do not undo it", 77, 77*time.Second)
		if detail, err := w.platform("").App(w.ctx, "db"); err != nil || detail.By != "cli:ana" || detail.Declared[0].InForce {
			t.Errorf("app show: %+v by %s, %v", detail.Declared, detail.By, err)
		}
		w.run(release(w, "node-6", 30))
		inForce("a new release does", 30, 30*time.Second)
	})
}

// A name belongs to programs or to a person, never to both.
func TestNamesHaveOneOwner(t *testing.T) {
	inBubble(t, func(w *world) {
		applied := func(name string) error {
			_, err := ask[api.ApplyReply](w, api.AppApply, func(m api.Meta) api.ApplyRequest {
				return api.ApplyRequest{Meta: m, Spec: spec.App{Name: name, Mode: spec.Singleton, Process: &spec.Process{Command: []string{"x"}}}}
			})
			return err
		}
		removed := func(name string) error {
			_, err := ask[api.Ack](w, api.AppRemove, func(m api.Meta) api.AppRequest { return api.AppRequest{Meta: m, App: name} })
			return err
		}
		p := w.platform("node-1")
		if err := p.Register(App("db", Singleton())); err != nil {
			t.Fatal(err)
		}
		stop := w.run(p)
		w.on("db", "node-1")
		if err := applied("db"); api.CodeOf(err) != api.CodeDeclared {
			t.Errorf("apply: %v", err)
		}
		if err := removed("db"); api.CodeOf(err) != api.CodeDeclared {
			t.Errorf("remove while it is declared: %v", err)
		}
		stop()
		w.until("node-1 has left", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusLost })
		if err := removed("db"); err != nil {
			t.Errorf("remove when nobody declares it any more: %v", err)
		}
		w.until("it is gone", func(v *projections.Cluster) bool { return !v.Apps["db"].Exists() })
		if err := applied("db"); err != nil {
			t.Fatal(err)
		}
		q := w.platform("node-2")
		if err := q.Register(App("db", Singleton())); err != nil {
			t.Fatal(err)
		}
		if err := q.Run(w.ctx); !errors.Is(err, ErrDeclared) || !strings.Contains(err.Error(), "app db: a process app of that name is applied") {
			t.Errorf("run: %v, want %v", err, ErrDeclared)
		}
	})
}

// An instance whose program no longer registers its app moves; with no other program that does, the app is Pending.
func TestProgramWithoutTheApp(t *testing.T) {
	inBubble(t, func(w *world) {
		with := func(node string) *Platform {
			p := w.platform(node)
			if err := p.Register(App("db", Singleton(), PreferNode("node-1", 100))); err != nil {
				t.Fatal(err)
			}
			return p
		}
		stop1 := w.run(with("node-1"))
		stop2 := w.run(with("node-2"))
		w.on("db", "node-1")
		stop1()
		w.run(w.platform("node-1")) // the next release does not have it
		w.on("db", "node-2")
		stop2()
		w.run(w.platform("node-2"))
		client := w.platform("")
		w.idle("db is Pending, and says why", func() bool {
			detail, err := client.App(w.ctx, "db")
			return err == nil && detail.State == api.AppPending && len(detail.Instances) == 0 && strings.Contains(detail.Why, "2 code")
		})
		w.run(with("node-3"))
		w.on("db", "node-3")
	})
}
