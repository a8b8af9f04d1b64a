package planner_test

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// A policy that wants approval, and then does not, leaves moves that wait for something else: neither can be approved of what waits for no approval,
// nor does its time run out.
func TestApprovalIsNotWantedAnyMore(t *testing.T) {
	for name, approved := range map[string]bool{"not approved": false, "approved": true} {
		t.Run(name, func(t *testing.T) {
			run(t, map[string]string{"n1": "role=a", "n2": "role=a"}, func(t *testing.T, w *world) {
				w.place(singleton("db", "role=a"))
				policy := func(approval bool) {
					p := api.PolicyRequest{Meta: w.Meta()}
					p.Policy.Migration.RequireApproval, p.Policy.Migration.ApprovalExpiry = approval, spec.Duration(time.Hour)
					p.Policy.Migration.CooldownPeriod = spec.Duration(24 * time.Hour)
					w.ack(api.PolicySet, p)
				}
				proposal := func(what string, is func(*projections.Migration) bool) (id string) {
					w.Until(t, what, func(v *projections.Cluster) bool {
						pr := v.Apps["db"].Proposals["db-0"]
						if pr != nil {
							id = pr.Migration
						}
						return pr != nil && is(pr)
					})
					return id
				}
				w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"}) // it is cooling down from then on
				w.runs("db")
				policy(true)
				w.label(w.on("db")[0], "role=b")
				id := proposal("it waits for approval", func(pr *projections.Migration) bool { return pr.Awaits })
				judge := api.JudgeRequest{Meta: w.Meta(), Migration: id}
				if approved {
					w.ack(api.MigrationApprove, judge)
				}
				policy(false)
				proposal("it waits for its cooldown alone", func(pr *projections.Migration) bool { return !pr.Awaits && len(pr.Holds) == 1 })
				if judge.Meta = w.Meta(); !approved {
					refused(w, api.MigrationApprove, judge, api.CodeRefused, "approve "+id+": it waits for no approval")
				}
				w.Pass(3 * time.Hour)
				w.label(w.on("db")[0], "role=b,zone=z") // the planner looks again
				w.Pass(time.Minute)
				same(t, "the proposal", proposal("it is held", func(*projections.Migration) bool { return true }), id)
			})
		})
	}
}

// What is refused to be judged because it is over says how it ended, and nothing where there is nothing to say.
func TestJudgementOfWhatIsOver(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		w.hold(true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"})
		given := w.open("db").Migration
		w.ack(api.MigrationCancel, api.MigrationRequest{Meta: w.Meta(), Migration: given})
		w.hold(false)
		w.runs("db")
		judge := func(e api.Endpoint, id, says string) {
			t.Helper()
			refused(w, e, api.JudgeRequest{Meta: w.Meta(), Migration: id}, api.CodeRefused, says)
		}
		judge(api.MigrationApprove, given, "approve "+given+": it has ended (cancelled: operator)")
		var placed string
		w.Replica.View(func(v *projections.Cluster) { placed = v.Apps["db"].Instances["db-0"].Put.Migration })
		judge(api.MigrationApprove, placed, "approve "+placed+": it has ended (completed)")
		judge(api.MigrationDeny, placed, "deny "+placed+": it has ended (completed)")
	})
}
