package projections

import (
	"cmp"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// MigrationView is one row of `migration list`, for open and ended ones. The duration of an open one is as of the fold's time.
func MigrationView(c *Cluster, m *Migration) api.MigrationView {
	v := api.MigrationView{
		ID: m.Migration, App: m.App, Instance: m.Instance, FromNode: m.From, ToNode: m.To, Reason: m.Reason, Trigger: m.Trigger,
		Status: m.Status, Step: m.step(), Code: m.Code, Detail: m.Detail, Sync: m.Sync,
	}
	if m.Status == MigrationHeld {
		v.Detail = HoldsLine(m.Holds)
		if m.Awaits {
			v.Status = MigrationPlanned
		}
		if only := m.Holds; m.Awaits && m.Approval.Seq == 0 && len(only) == 1 && only[0].Rule == events.HoldApproval {
			v.Awaits = events.HoldApproval
		}
	}
	if m.Started.Seq > 0 {
		started := m.Started.At
		v.Started = &started
	}
	switch {
	case m.Ended():
		v.DurationMS = cmp.Or(m.Told, m.Took).Milliseconds() // what the log says is what is shown
	case m.Started.Seq > 0:
		v.DurationMS = max(0, c.Time.Sub(m.Started.At)).Milliseconds()
	}
	if v.Detail == "" && m.Failure != nil {
		v.Detail = m.Failure.Detail // it is on its way back because of this
	}
	return v
}

// step is the one under way, or the last one there was.
func (m *Migration) step() string {
	if m.Order != nil {
		return string(m.Order.Step)
	}
	for i := len(m.History) - 1; i >= 0; i-- {
		if s := m.History[i].Step; s != "" {
			return s
		}
	}
	return ""
}

// MigrationDetail is `migration show`.
func MigrationDetail(c *Cluster, m *Migration) api.MigrationDetail {
	d := api.MigrationDetail{MigrationView: MigrationView(c, m), Order: m.Orderer, Correlation: m.Move.Correlation, Steps: []api.StepView{}, Forgotten: m.Forgotten}
	for _, h := range m.History {
		s := api.StepView{Seq: h.Seq, At: h.At, Event: string(h.Event), Step: h.Step, Node: h.Node, Detail: h.Detail}
		if m.Started.Seq > 0 && h.Seq > m.Started.Seq {
			s.OffsetMS = max(time.Duration(0), h.At.Sub(m.Started.At)).Milliseconds()
		}
		d.Steps = append(d.Steps, s)
	}
	return d
}
