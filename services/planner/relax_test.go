package planner_test

import (
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	st "github.com/go-cluster/go-cluster/services/servicetest"
)

// What would give an app a place is in the event that says that it has none, in the app's view and in a preview; and it does.
func TestRelax(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b"}, func(t *testing.T, w *world) {
		w.apply(singleton("db", "role=c"))
		w.Until(t, "db is Pending", func(v *projections.Cluster) bool { return v.Apps["db"] != nil && v.Apps["db"].Pending != nil })
		const want = "label n1 role=c"
		stored := last[events.PlacementInvalid](w).Relax
		shown := st.Must[api.AppDetail](t, w.Cluster, api.AppShow, api.AppRequest{App: "db"}).Relax
		for where, relax := range map[string][]events.Relaxation{"event": stored, "view": shown} {
			if len(relax) == 0 || relax[0].Detail != want || relax[0].Node != "n1" || relax[0].Commands[0] != "go-cluster node label n1 role=c" {
				t.Errorf("%s: %+v", where, relax)
			}
		}
		w.label("n1", "role=c")
		w.runs("db")
		rep := st.Must[api.PreviewReply](t, w.Cluster, api.PlanPreview, api.PreviewRequest{Label: &api.LabelRequest{Node: "n1", Set: map[string]string{"role": "z"}}})
		if len(rep.Pending) != 1 || len(rep.Pending[0].Relax) == 0 || rep.Pending[0].Relax[0].Detail != want {
			t.Errorf("preview: %+v", rep.Pending)
		}
		if shown := st.Must[api.AppDetail](t, w.Cluster, api.AppShow, api.AppRequest{App: "db"}); len(shown.Relax) > 0 {
			t.Errorf("it has a place, and %+v", shown.Relax)
		}
	})
}
