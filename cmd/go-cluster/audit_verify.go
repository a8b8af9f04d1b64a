package main

import (
	"bytes"
	"errors"
	"fmt"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
)

type auditVerify struct {
	Laws bool `help:"Only list the laws and what each rests on."`
}

// Help is printed by kong.
func (*auditVerify) Help() string {
	return `Reads the whole log and checks here, not in the control plane, that its hash chain is intact and that it
obeys the laws of the product: --laws lists them. The exit code is 1 when it does not.

Examples:
  go-cluster audit verify
  go-cluster audit verify -o json | jq '.violations[]'`
}

// verification is the outcome, for programs.
type verification struct {
	Events     int      `json:"events"`
	LastSeq    uint64   `json:"last_seq"`
	ChainOK    bool     `json:"chain_ok"`
	Laws       int      `json:"laws"`
	Violations []breach `json:"violations"`
}

type breach struct {
	Seq       uint64 `json:"seq"`
	Invariant string `json:"invariant"`
	Number    int    `json:"number"`
	Detail    string `json:"detail"`
}

// law is one line of --laws.
type law struct {
	Number    int    `json:"number"`
	Name      string `json:"name"`
	Statement string `json:"statement"`
	RestsOn   string `json:"rests_on"`
}

// Run is called by kong.
func (cmd *auditVerify) Run(s *session) error {
	if cmd.Laws {
		return s.laws()
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	v, err := c.verify()
	if err != nil {
		return err
	}
	if err := s.print(v, func() { s.verdict(v) }); err != nil {
		return err
	}
	if len(v.Violations) > 0 {
		return done(exitError)
	}
	return nil
}

func (s *session) laws() error {
	out := []law{}
	for _, i := range invariants.OfLog() {
		out = append(out, law{i.Number, i.Name, i.Statement, i.RestsOn})
	}
	return s.print(out, func() {
		for _, l := range out {
			fmt.Fprintf(s.out, "%2d %s\n   %s\n   %s\n", l.Number, s.style.bold(l.Name), l.Statement, s.style.faint("Rests on: "+l.RestsOn+"."))
		}
	})
}

func (s *session) verdict(v verification) {
	for _, b := range v.Violations {
		fmt.Fprintf(s.out, "%6d  %s  %s\n", b.Seq, s.style.warn(b.Invariant), b.Detail)
	}
	chain := "hash chain ok"
	if !v.ChainOK {
		chain = "hash chain broken"
	}
	if len(v.Violations) == 0 {
		s.sayf("%d events, %s, %d invariants hold", v.Events, chain, v.Laws)
		return
	}
	s.sayf("%d events, %s, %d violations", v.Events, chain, len(v.Violations))
}

// verify reads the log up to where it ended when it was asked first.
func (c *client) verify() (verification, error) {
	v := verification{ChainOK: true, Laws: len(invariants.OfLog()), Violations: []breach{}}
	checker := invariants.New()
	for next := uint64(1); v.LastSeq == 0 || next <= v.LastSeq; {
		rep, err := call[api.EventListRequest, api.EventListReply](c, api.EventList, api.EventListRequest{Meta: c.question(0), SinceSeq: next, Places: true})
		if err != nil {
			return v, err
		}
		if v.LastSeq == 0 {
			v.LastSeq = rep.LastSeq
		}
		if len(rep.Places) != len(rep.Lines) {
			return v, fail(exitRefused, "audit verify: the auditor does not say where events are stored: it is of an older version")
		}
		for i, line := range rep.Lines {
			m, err := asStored(line, rep.Places[i])
			if err != nil {
				return v, err
			}
			v.Events++
			v.add(checker.Event(m))
		}
		if rep.NextSeq <= next { // the log is shorter than it said
			break
		}
		next = rep.NextSeq
	}
	return v, nil
}

func (v *verification) add(found []invariants.Violation) {
	for _, f := range found {
		v.ChainOK = v.ChainOK && f.Invariant != invariants.Chain && f.Invariant != invariants.Revisions
		v.Violations = append(v.Violations, breach{f.Seq, f.Name, f.Number, f.Detail})
	}
}

// asStored makes the message as it stands in the log of what the auditor hands out: the stored bytes with the sequence put in before
// the last brace. What is no event comes with the reason instead.
func asStored(line jsontext.Value, at api.Place) (events.Message, error) {
	var l struct {
		Seq       uint64 `json:"seq"`
		Malformed string `json:"malformed"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return events.Message{}, fmt.Errorf("audit verify: %w", err)
	}
	m := events.Message{Event: events.Event{Seq: l.Seq, Stored: at.Stored}}
	raw, cut := bytes.CutSuffix(line, fmt.Appendf(nil, `,"seq":%d}`, l.Seq))
	if l.Malformed != "" || !cut {
		m.Err = &events.MalformedError{Subject: at.Subject, Seq: l.Seq, Reason: l.Malformed}
		return m, nil
	}
	m.Raw = append(bytes.Clone(raw), '}')
	e, err := events.Decode(at.Subject, l.Seq, at.Stored, m.Raw)
	if !errors.As(err, &m.Err) {
		m.Event = e
	}
	return m, nil
}
