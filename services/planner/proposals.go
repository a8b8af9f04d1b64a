package planner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// approvalExpiry is how long a proposal waits, and its approval holds, when the policy does not say.
const approvalExpiry = 24 * time.Hour

// proposals tells of what guardrails hold, and drops what is not wanted any more: the proposals of the fold follow the plan.
func proposals(v *projections.Cluster, plan placement.Plan, busy []*projections.App, now time.Time, sure bool) (out []*events.Draft) {
	if _, frozen := v.Frozen[events.FreezeSafety]; frozen {
		return nil // nothing is planned, which says nothing of what is wanted
	}
	wanted := map[string]bool{}
	for _, h := range plan.Held {
		wanted[h.Instance] = true
		if d := hold(v, h, now, sure); d != nil {
			out = append(out, d)
		}
	}
	for _, m := range plan.Moves {
		wanted[m.Instance] = true // its admission ends the proposal
	}
	for _, a := range busy {
		for _, id := range sortedKeys(a.Proposals) {
			if pr := a.Proposals[id]; !wanted[id] {
				out = append(out, about(pr, pr.Admitted.ID, &events.MigrationCancelled{Ref: pr.Ref(), Why: "it is not wanted any more"}))
			}
		}
	}
	return out
}

func about(pr *projections.Migration, cause string, data any) *events.Draft {
	return &events.Draft{Aggregate: events.App(pr.App), App: pr.App, Cause: cause, Correlation: pr.Correlation, Data: data}
}

// hold makes the event of a move that is held, nil when what is stored of it says the same.
func hold(v *projections.Cluster, h placement.Held, now time.Time, sure bool) *events.Draft {
	a, m := v.Apps[h.App], h.Move
	pr := a.Proposals[m.Instance]
	same := pr != nil && placement.SameMove(pr.Move, m)
	if v.Policy.Migration.RequireApproval && same && !pr.Expires.IsZero() && sure && !now.Before(pr.Expires) {
		return about(pr, pr.Admitted.ID, &events.MigrationExpired{Ref: pr.Ref(), Expired: pr.Expires})
	}
	if h.Passing && !(pr != nil && !same) {
		return nil
	}
	if !same {
		m.Migration = proposalID(v, m)
	}
	awaits := slices.ContainsFunc(h.Holds, func(h events.Hold) bool { return h.Rule == events.HoldApproval })
	var data any
	switch {
	case h.Passing:
		return about(pr, pr.Admitted.ID, &events.MigrationCancelled{Ref: pr.Ref(), Why: "it is planned otherwise"})
	case awaits && (!same || !pr.Awaits):
		expiry := cmp.Or(v.Policy.Migration.ApprovalExpiry.D(), approvalExpiry)
		data = &events.MigrationPlanned{Ref: m.Ref(), Move: m, Holds: h.Holds, Expires: now.Add(expiry).UTC(), PolicyHash: v.PolicyHash}
	case !same || news(pr, h.Holds, now):
		data = held(m, h.Holds)
	default:
		return nil
	}
	return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Cause: m.Cause, Correlation: m.Correlation, Data: data}
}

func proposalID(v *projections.Cluster, m events.Move) string {
	return "m-" + events.Derive("proposal", m.App, fmt.Sprint(v.Head(events.App(m.App)).Rev+1), m.Instance)[:12]
}

func held(m events.Move, holds []events.Hold) *events.MigrationHeld {
	return &events.MigrationHeld{Ref: m.Ref(), Move: m, Holds: holds, Until: projections.Until(holds), Detail: projections.HoldsLine(holds)}
}

// news says whether other guardrails hold a proposal than what is stored of it, or a time that is stored has passed and did not end it.
func news(pr *projections.Migration, holds []events.Hold, now time.Time) bool {
	return !slices.EqualFunc(pr.Holds, holds, func(x, y events.Hold) bool {
		return x.Rule == y.Rule && (x.Until.Equal(y.Until) || x.Until.After(now) && y.Until.After(now))
	})
}

func (s *Service) approve(ctx context.Context, r *transport.Request) (any, error) {
	return s.judgeProposal(ctx, r, "approve", func(pr *projections.Migration, why string) any {
		if !pr.Awaits {
			return nil
		}
		return &events.MigrationApproved{Ref: pr.Ref(), Why: why}
	})
}

func (s *Service) deny(ctx context.Context, r *transport.Request) (any, error) {
	return s.judgeProposal(ctx, r, "deny", func(pr *projections.Migration, why string) any {
		return &events.MigrationDenied{Ref: pr.Ref(), Why: why}
	})
}

// judgeProposal stores what an operator says to a proposal; nothing when that has been said.
func (s *Service) judgeProposal(ctx context.Context, r *transport.Request, verb string, say func(pr *projections.Migration, why string) any) (any, error) {
	req, err := transport.Decode[api.JudgeRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		m := v.Migrations[req.Migration]
		switch {
		case m == nil:
			return nil, api.Refuse(api.CodeNotFound, "%s %s: no such migration", verb, req.Migration)
		case m.Status != projections.MigrationHeld && m.Approval.Seq > 0 && verb == "approve":
			return nil, nil
		case m.Status == projections.MigrationCancelled && m.Code == "denied" && verb == "deny":
			return nil, nil
		case m.Ended():
			how := m.Status
			if m.Detail != "" {
				how += ": " + m.Detail
			}
			return nil, api.Refuse(api.CodeRefused, "%s %s: it has ended (%s)", verb, m.Migration, how)
		case m.Status != projections.MigrationHeld:
			return nil, api.Refuse(api.CodeRefused, "%s %s: it is admitted (%s); give it up with: go-cluster migration cancel %s", verb, m.Migration, m.Status, m.Migration)
		case verb == "approve" && m.Expires.IsZero():
			return nil, api.Refuse(api.CodeRefused, "approve %s: it waits for no approval (%s)", m.Migration, projections.HoldsLine(m.Holds))
		case verb == "approve" && !s.now(v).Before(m.Expires):
			return nil, api.Refuse(api.CodeRefused, "approve %s: its time was up at %s", m.Migration, m.Expires.UTC().Format(time.RFC3339))
		}
		data := say(m, req.Why)
		if data == nil {
			return nil, nil
		}
		return about(m, "", data), nil
	})
}
