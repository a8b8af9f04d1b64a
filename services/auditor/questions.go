package auditor

import (
	"context"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport"
)

// catchUp waits until the tail has everything that was in the log when the question arrived.
func (s *Service) catchUp(ctx context.Context, r *transport.Request) error {
	if err := s.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil {
		return api.Refuse(api.CodeUnavailable, "%s: %v", s.Name, err)
	}
	if err := s.tail.await(ctx, s.Replica.Seq()); err != nil {
		return api.Refuse(api.CodeUnavailable, "%s: %v", s.Name, err)
	}
	return nil
}

func (s *Service) listEvents(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.EventListRequest](r)
	if err != nil {
		return nil, err
	}
	if err := s.catchUp(ctx, r); err != nil {
		return nil, err
	}
	limit := req.Limit
	if limit <= 0 || limit > maxEvents {
		limit = maxEvents
	}
	f := filter{app: req.App, node: req.Node, correlation: req.Correlation}
	p, err := s.poll(ctx, req.SinceSeq, limit, req.Wait.D(), func(e *entry) bool { return e.concerns(f) })
	if err != nil {
		return nil, api.Refuse(api.CodeUnavailable, "event list: %v", err)
	}
	rep := api.EventListReply{Lines: []api.RawLine{}, NextSeq: p.next}
	rep.LastSeq, _ = s.tail.at()
	for _, e := range p.entries {
		rep.Lines = append(rep.Lines, e.line)
		if req.Places {
			rep.Places = append(rep.Places, api.Place{Subject: e.at.subject(s.Subjects), Stored: e.at.stored})
		}
	}
	return rep, nil
}

// listAudit answers with the newest records, or from a sequence on with those that follow it: asking again from NextSeq misses
// none.
func (s *Service) listAudit(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.AuditListRequest](r)
	if err != nil {
		return nil, err
	}
	if err := s.catchUp(ctx, r); err != nil {
		return nil, err
	}
	limit := req.Limit
	switch {
	case limit <= 0:
		limit = 100
	case limit > maxAudit:
		limit = maxAudit
	}
	f := filter{app: req.App, node: req.Node}
	var p page
	if req.SinceSeq == 0 {
		es, last := s.tail.newest(limit, f)
		p = newestThatFit(es)
		p.next = last + 1
	}
	if req.SinceSeq > 0 || len(p.entries) == 0 && req.Wait > 0 {
		p, err = s.poll(ctx, max(req.SinceSeq, p.next), limit, req.Wait.D(), func(e *entry) bool { return e.audited && e.concerns(f) })
		if err != nil {
			return nil, api.Refuse(api.CodeUnavailable, "audit list: %v", err)
		}
	}
	rep := api.AuditListReply{Records: []api.AuditRecord{}, NextSeq: p.next}
	for _, e := range p.entries {
		rec, err := e.record()
		if err != nil {
			return nil, api.Refuse(api.CodeInternal, "audit list: %v", err)
		}
		rep.Records = append(rep.Records, rec)
	}
	return rep, nil
}

// newestThatFit leaves the oldest out when all together are too large for a reply.
func newestThatFit(es []entry) page {
	var p page
	from := len(es)
	for from > 0 && (p.bytes == 0 || p.bytes+len(es[from-1].line) <= maxReply) {
		from--
		p.bytes += len(es[from].line)
	}
	p.entries = es[from:]
	return p
}
