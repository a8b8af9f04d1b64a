package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

type appList struct {
	Node string `predictor:"node" placeholder:"NODE" help:"Only apps with an instance there."`
}

// Run is called by kong.
func (cmd *appList) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	apps, err := call[api.ListRequest, []api.AppView](c, api.AppList, api.ListRequest{Meta: c.question(0)})
	if err != nil {
		return err
	}
	none := "no apps yet; declare one with: go-cluster app apply -f FILE"
	if cmd.Node != "" {
		none = "no app has an instance on " + cmd.Node
		apps = slices.DeleteFunc(apps, func(a api.AppView) bool { return !slices.Contains(a.Nodes, cmd.Node) })
		if len(apps) == 0 {
			if _, err := c.node(cmd.Node); err != nil { // there may be no such node
				return err
			}
		}
	}
	return s.print(apps, func() {
		g := newGrid(s.out, "name", "mode", "state", "running", "nodes")
		for _, a := range apps {
			g.row(a.Name, string(a.Mode), s.state(a.State), ready(a), strings.Join(a.Nodes, ","))
		}
		g.flush(none)
	})
}

func ready(a api.AppView) string { return fmt.Sprintf("%d/%d", a.Running, a.Desired) }

type appShow struct {
	App string `arg:"" predictor:"app" help:"App to show."`
}

// Run is called by kong.
func (cmd *appShow) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	app, err := c.app(cmd.App, 0)
	if err != nil {
		return err
	}
	return s.print(app, func() { s.appTable(app) })
}

// app asks for one app.
func (c *client) app(name string, minSeq uint64) (api.AppDetail, error) {
	return call[api.AppRequest, api.AppDetail](c, api.AppShow, api.AppRequest{Meta: c.question(minSeq), App: name})
}

func (s *session) appTable(a api.AppDetail) {
	fmt.Fprintf(s.out, "%s  %s  %s  %s running  revision %d\n", s.style.bold(a.Name), a.Mode, s.state(a.State), ready(a.AppView), a.SpecRev)
	for _, rule := range rulesOf(a.Spec) {
		fmt.Fprintf(s.out, "  %s\n", s.style.faint(rule))
	}
	if a.Spec.VIP != nil {
		fmt.Fprintf(s.out, "  %s\n", s.style.faint(vipLine(a)))
	}
	s.dataLines(a.Instances)
	if st := a.Standbys; st != nil {
		line := fmt.Sprintf("standbys %d of %d", st.Kept, st.Wanted)
		if st.Why != "" {
			line = st.Why
		}
		fmt.Fprintf(s.out, "  %s\n", s.style.faint(line))
	}
	if a.LossPossible != nil {
		fmt.Fprintf(s.out, "  %s\n", s.style.warn(lossLine(*a.LossPossible)))
	}
	for _, d := range a.Lost {
		fmt.Fprintf(s.out, "  %s\n", s.style.warn(lostLine(d)))
	}
	for _, d := range a.Declared {
		word := "declared by the programs on " + strings.Join(d.Nodes, ", ")
		switch {
		case d.InForce:
			word += ": in force"
		case len(a.Declared) > 0 && !slices.ContainsFunc(a.Declared, func(o api.DeclarationView) bool { return o.InForce }):
			word += ": changed since by " + a.By
		default:
			word += ": older"
		}
		fmt.Fprintf(s.out, "  %s\n", s.style.faint(word))
	}
	s.instances(a.Instances)
	if a.Why == "" && len(a.Pending) == 0 {
		return
	}
	fmt.Fprintf(s.out, "\n%s %s\n", s.style.warn("pending:"), a.Why)
	s.rejections(s.out, "  ", a.Pending)
	s.relax(s.out, "  ", a.Relax)
}

// vipLine says where the app's address is.
func vipLine(a api.AppDetail) string {
	for _, i := range a.Instances {
		if i.VIP != "" {
			return fmt.Sprintf("vip %s on %s (%s)", i.VIP, i.Node, a.Spec.VIP.Interface)
		}
	}
	return fmt.Sprintf("vip %s nowhere (%s)", a.Spec.VIP.Address, a.Spec.VIP.Interface)
}

// dataLines says how far each copy of data is.
func (s *session) dataLines(ins []api.InstanceView) {
	for _, in := range ins {
		if in.Data != nil {
			fmt.Fprintf(s.out, "  %s\n", s.style.faint(dataLine(in)))
		}
	}
}

func dataLine(in api.InstanceView) string {
	line := fmt.Sprintf("data of %s (%s) on %s at %s", in.ID, in.Role, in.Node, cmp.Or(in.Data.Position, "nothing"))
	if in.Data.LagMS > 0 {
		line += fmt.Sprintf(", %d ms behind", in.Data.LagMS)
	}
	if in.Data.Strays > 0 {
		line += fmt.Sprintf(", %s of somebody who ships into an epoch that has ended were deleted", count(in.Data.Strays, "object"))
	}
	if in.Data.Error != "" {
		line += ": " + in.Data.Error
	}
	return line
}

// lossLine says what a takeover may have gone on without.
func lossLine(l api.LossView) string {
	what := "the last writes"
	if l.BoundMS > 0 {
		what = "writes of the last " + strconv.FormatFloat(math.Ceil(float64(l.BoundMS)/100)/10, 'f', 1, 64) + " s"
	}
	return fmt.Sprintf("data: epoch %d went on after a takeover: %s may be lost (event %d)", l.Epoch, what, l.Seq)
}

// lostLine says what a takeover went on without, and where it is.
func lostLine(d events.DataLost) string {
	return fmt.Sprintf("data lost: %s led epoch %d up to %s, and the app went on from %s without %s of changes; they are in %s on %s",
		d.Node, d.Epoch, d.Found, cmp.Or(d.From, "nothing"), memory(spec.Bytes(d.Bytes)), d.Aside, d.Node)
}

// rulesOf says where an app wants to run, one rule a line.
func rulesOf(a spec.App) []string {
	var out []string
	add := func(word string, values ...string) {
		if len(values) > 0 {
			out = append(out, word+" "+strings.Join(values, ", "))
		}
	}
	add("require", a.Require...)
	add("only on", a.OnNodes...)
	add("with", a.WithApp...)
	add("away from", a.AwayFromApp...)
	for _, so := range a.SpreadOver {
		add("spread over", fmt.Sprintf("%s (at most %d apart)", so.Label, so.MaxSkew))
	}
	for _, p := range a.Prefer {
		what := p.Label
		if what == "" {
			what = p.Node
		}
		add("prefer", fmt.Sprintf("%s (weight %d)", what, p.Weight))
	}
	if a.Resources != (spec.Resources{}) {
		add("needs", fmt.Sprintf("cpu %s, memory %s", a.Resources.CPU, a.Resources.Memory))
	}
	return out
}

func (s *session) instances(views []api.InstanceView) {
	fmt.Fprintln(s.out)
	header := []string{"instance", "node", "role", "state", "epoch", "address"}
	if s.wide() {
		header = append(header, "ports", "detail")
	}
	g := newGrid(s.out, header...)
	for _, i := range views {
		epoch := ""
		if i.Epoch > 0 {
			epoch = strconv.FormatUint(i.Epoch, 10)
		}
		cells := []string{i.ID, i.Node, i.Role, s.state(i.State), epoch, i.Address}
		if s.wide() {
			cells = append(cells, portsLine(i.Ports), i.Detail)
		}
		g.row(cells...)
	}
	g.flush("no instances")
	for _, i := range views {
		if i.Detail != "" && !s.wide() {
			fmt.Fprintf(s.out, "  %s: %s\n", i.ID, i.Detail)
		}
	}
}
