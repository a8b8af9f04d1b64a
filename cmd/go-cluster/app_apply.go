package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

type appApply struct {
	File []string `short:"f" required:"" sep:"none" placeholder:"FILE" predictor:"file" help:"File with one or more apps, YAML or JSON; - reads standard input. May be repeated."`
	PlanFlags
	FollowFlags
}

// Help is printed by kong.
func (*appApply) Help() string {
	return `Every app of every file is checked before the first is sent. The command then waits until each app runs as declared.

Examples:
  go-cluster app apply -f convex.yaml
  go-cluster app apply -f - < apps.yaml
  go-cluster app apply -f convex.yaml --dry-run --detailed-exitcode`
}

// Run is called by kong.
func (cmd *appApply) Run(s *session) error {
	apps, err := s.readApps(cmd.File)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	if cmd.DryRun {
		return cmd.dryRun(c, apps)
	}
	return cmd.carryOut(c, apps, 0)
}

// carryOut declares the apps and follows them. planned is what the first of them may rest on, 0 for anything: see api.Meta.IfPlanned.
func (cmd *appApply) carryOut(c *client, apps []spec.App, planned uint64) error {
	var (
		replies []api.ApplyReply
		orders  []*watched
		since   uint64
	)
	for i, app := range apps {
		meta := c.command()
		if i == 0 {
			meta.IfPlanned = planned
		}
		rep, err := call[api.ApplyRequest, api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: meta, Spec: app})
		if err != nil {
			return applyError(app.Name, i, len(apps), err)
		}
		replies = append(replies, rep)
		for _, w := range rep.Warnings {
			c.notef("%s %s: %s", styleOf(c.err).warn("warning:"), app.Name, w)
		}
		cmd.tell(c, app.Name, rep)
		// An unchanged app may still be on its way from an earlier command, and "it runs" is what this one promises.
		orders = append(orders, &watched{id: rep.Order, kind: "apply", name: app.Name, seq: rep.Seq})
		first := rep.Seq
		if !rep.Changed {
			first++ // the log's end then, and no news
		}
		if since == 0 || first < since {
			since = first
		}
	}
	if cmd.Detach {
		return c.data(replies)
	}
	return c.follow(newProgress(orders...), since)
}

// tell says what became of one declaration: the last word of a detached command, else a line of progress.
func (cmd *appApply) tell(c *client, name string, rep api.ApplyReply) {
	line := fmt.Sprintf("%s applied (revision %d)", name, rep.SpecRev)
	switch {
	case !rep.Changed:
		line = fmt.Sprintf("%s unchanged (revision %d)", name, rep.SpecRev)
	case rep.Rolls:
		line += ", its instances are being replaced"
	}
	if cmd.Detach {
		c.sayf("%s", line)
		return
	}
	c.notef("%s", line)
}

func applyError(name string, done, all int, err error) error {
	hint := ""
	if done > 0 {
		hint = fmt.Sprintf("repeat the command once this is settled: %d of %s have been applied, applying them again changes nothing", done, count(all, "app"))
	}
	return &exit{code: codeOf(err), err: applying(name, err), hint: hint}
}

// applying names the app that an error is about, where it does not say so itself.
func applying(name string, err error) error {
	if what := "apply " + name + ":"; !strings.HasPrefix(err.Error(), what) {
		return fmt.Errorf("%s %w", what, err)
	}
	return err
}

// dryRun asks for the plan of all apps together: what one takes, another cannot have.
func (cmd *appApply) dryRun(c *client, apps []spec.App) error {
	changes := false
	req := api.PreviewRequest{}
	for i, app := range apps {
		differs, err := c.differs(app)
		if err != nil {
			return err
		}
		if !c.structured() {
			c.sayf("%s: %s", c.style.bold(app.Name), map[bool]string{true: "would change", false: "unchanged"}[differs])
		}
		changes = changes || differs
		if i == 0 {
			req.Apply = &api.ApplyRequest{Meta: c.command(), Spec: app}
		} else {
			req.Also = append(req.Also, api.ApplyRequest{Meta: c.command(), Spec: app})
		}
	}
	return c.dryRun(cmd.PlanFlags, req, changes)
}

// differs reports whether an app is new or declared otherwise.
func (c *client) differs(app spec.App) (bool, error) {
	now, err := c.app(app.Name, 0)
	if api.CodeOf(err) == api.CodeNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	a, errA := json.Marshal(now.Spec.WithDefaults(), json.Deterministic(true))
	b, errB := json.Marshal(app.WithDefaults(), json.Deterministic(true))
	if err := errors.Join(errA, errB); err != nil {
		return false, fmt.Errorf("compare %s with its declaration: %w", app.Name, err)
	}
	return string(a) != string(b), nil
}

// readApps reads and checks every app of every file. Each fault is reported on a line of its own.
func (s *session) readApps(files []string) ([]spec.App, error) {
	var (
		apps        []spec.App
		invalid     []string
		unsupported []string
		from        = map[string]string{}
	)
	for _, file := range files {
		b, err := s.readFile(file)
		if err != nil {
			return nil, err
		}
		decoded, err := spec.DecodeApps(b)
		if err != nil {
			invalid = append(invalid, faultLines(file, err)...)
			continue
		}
		for _, app := range decoded {
			where := file + ": " + app.Name
			if app.Name == "" {
				where = file
			}
			if other, found := from[app.Name]; found && app.Name != "" {
				invalid = append(invalid, fmt.Sprintf("%s: already declared in %s", where, other))
			}
			from[app.Name] = file
			if err := app.ValidateApplied(); err != nil {
				invalid = append(invalid, faultLines(where, err)...)
			}
			for _, f := range app.Unsupported() {
				unsupported = append(unsupported, where+": "+f.String())
			}
			apps = append(apps, app)
		}
	}
	switch {
	case len(invalid) > 0:
		return nil, fail(exitUsage, "nothing applied: %s", listed(append(invalid, unsupported...)))
	case len(unsupported) > 0:
		return nil, fail(exitRefused, "nothing applied: %s", listed(unsupported))
	}
	return apps, nil
}

func listed(lines []string) string {
	if len(lines) == 1 {
		return lines[0]
	}
	return count(len(lines), "fault") + "\n  " + strings.Join(lines, "\n  ")
}

// faultLines writes each fault of a decoding or validation error on its own line, whatever the error is wrapped in.
func faultLines(where string, err error) []string {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range many.Unwrap() {
			out = append(out, faultLines(where, e)...)
		}
		return out
	}
	var invalid *spec.Invalid
	if !errors.As(err, &invalid) {
		return []string{where + ": " + err.Error()}
	}
	// What wraps the faults says which document they are in.
	prefix := strings.TrimSuffix(err.Error(), invalid.Error())
	out := make([]string, len(invalid.Faults))
	for i, f := range invalid.Faults {
		out[i] = where + ": " + prefix + f.String()
	}
	return out
}

// readFile reads a file, or standard input for "-". It reads no more than a declaration may have.
func (s *session) readFile(name string) ([]byte, error) { return s.readUpTo(name, spec.MaxSpecBytes) }

// readUpTo is readFile with another limit; one byte more is read, so that what is too long is seen to be.
func (s *session) readUpTo(name string, most int64) ([]byte, error) {
	r := s.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fail(exitUsage, "%w", err)
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fail(exitUsage, "%w", err) // names the file, as that of Open does
	}
	return b, nil
}
