package planner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

// Every failing rule with its values, every guardrail, and a change that does it; where nothing stands against it, the numbers.
func TestWhyNot(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b", "n3": "role=a", "n4": "role=a"}, func(t *testing.T, w *world) {
		ask := func(app, node string) api.WhyNotReply {
			t.Helper()
			return st.Must[api.WhyNotReply](t, w.Cluster, api.AppWhyNot, api.WhyNotRequest{App: app, Node: node})
		}
		db := singleton("db", "role=a")
		db.OnNodes, db.Resources.CPU = []string{"n1", "n3", "n4"}, 4000
		w.place(db)
		at := w.on("db")[0]
		same(t, "at", at, "n1")

		there := ask("db", "n1")
		same(t, "it is there", there.Allowed && strings.HasPrefix(there.Why, "db-0 is there"), true)

		w.put(events.Node("n2"), &events.NodeCordoned{Node: "n2"})
		big := singleton("big")
		big.OnNodes, big.Resources.CPU = []string{"n2"}, 2000
		w.put(events.Node("n2"), &events.NodeUncordoned{Node: "n2"})
		w.place(big)
		big.Resources.CPU = 5000
		w.place(big)
		w.put(events.Node("n2"), &events.NodeCordoned{Node: "n2"})
		no := ask("db", "n2")
		var codes []string
		for _, r := range no.Rejections {
			codes = append(codes, r.Code)
		}
		same(t, "rules", strings.Join(codes, " "), "cordoned label on_nodes cpu")
		if no.Allowed || no.Instance != "db-0" || no.At != "n1" || !strings.Contains(no.Why, "needs cpu 4, 3 of 8 free") {
			t.Errorf("%+v", no)
		}
		if len(no.Relax) == 0 {
			t.Fatal("nothing would help")
		}
		// What is said to help does.
		same(t, "relax", no.Relax[0].Detail, "uncordon n2, and label n2 role=a, and add n2 to on_nodes of db, and give n2 cpu 1 more")
		w.put(events.Node("n2"), &events.NodeUncordoned{Node: "n2"})
		w.put(events.Node("n2"), &events.NodeFactsUpdated{Node: "n2", Facts: events.Facts{Address: "n2", CPU: 9000, Memory: 16 << 30, Drivers: []string{"process"}}})
		w.label("n2", "role=a")
		db.OnNodes = append(db.OnNodes, "n2")
		w.apply(db)
		yes := ask("db", "n2")
		same(t, "now", yes.Allowed, true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: "n2"})
		w.runs("db")
		same(t, "moved", w.on("db")[0], "n2")

		// Nothing against it: where it is scores no worse, or it is only better.
		better := ask("db", "n4")
		if !better.Allowed || !strings.Contains(better.Why, "n4 scores 100 more, but what runs stays") || !strings.Contains(better.Why, "automatic rebalancing is off") ||
			len(better.Scores) != 2 || better.Scores[0].Node != "n4" || better.Scores[1].Instances != 1 || !better.Scores[1].Here {
			t.Errorf("%s %+v", better.Why, better.Scores)
		}
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: "n4"})
		w.runs("db")
		if worse := ask("db", "n2"); !worse.Allowed || !strings.Contains(worse.Why, "none makes db-0 leave n4: n4 scores 0, n2 -100") {
			t.Errorf("%s", worse.Why)
		}

		// Guardrails that would hold it are said, whoever wants the move.
		p := api.PolicyRequest{Meta: w.Meta()}
		p.Policy.Migration.CooldownPeriod = spec.Duration(time.Hour)
		p.Policy.Migration.RequireApproval = true
		w.ack(api.PolicySet, p)
		held := ask("db", "n3")
		rules := func(hs []events.Hold) (out string) {
			for _, h := range hs {
				out += h.Rule + " "
			}
			return out
		}
		same(t, "by itself", rules(held.Holds), "cooldown approval ")
		same(t, "asked", rules(held.HoldsAsked), "cooldown ")

		refused(w, api.AppWhyNot, api.WhyNotRequest{App: "none", Node: "n1"}, api.CodeNotFound, "no such app")
		refused(w, api.AppWhyNot, api.WhyNotRequest{App: "db", Node: "n9"}, api.CodeNotFound, "no node n9")
		refused(w, api.AppWhyNot, api.WhyNotRequest{App: "db", Node: "n1", Instance: "db-4"}, api.CodeNotFound, "no instance db-4")
	})
}
