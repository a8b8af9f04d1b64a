package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// interruptible returns a context that the first SIGINT or SIGTERM ends; the second one ends the process at once.
func interruptible() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// session is one run of the command: where it reads and writes, and what the user said for every command.
type session struct {
	globals
	ctx   context.Context // ends on Ctrl-C
	in    io.Reader
	out   io.Writer // results only
	err   io.Writer // progress, warnings, errors
	style style     // of out
	began time.Time
	given []string // names of the flags on the command line; others may come from the environment
}

// named tells a flag that was given by hand from one of the environment.
func (s *session) named(flag string) bool { return slices.Contains(s.given, flag) }

// run executes one command line and returns its exit code. It writes nothing anywhere else and never ends the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	var g grammar
	results := &results{Writer: stdout}
	s := &session{ctx: ctx, in: stdin, out: results, err: stderr, style: styleOf(stdout), began: time.Now()}
	defer func() {
		if err := results.failed(); err != nil && code == exitDone {
			code = exitError
			s.explain(fmt.Errorf("write the result: %w", err))
		}
	}()
	defer func() {
		switch e := recover().(type) {
		case nil:
		case exited:
			code = int(e)
		default:
			panic(e)
		}
	}()
	parser, err := newParser(&g, s)
	if err != nil {
		panic(err) // the grammar itself is wrong: no command line can be read
	}
	if os.Getenv("COMP_LINE") != "" {
		complete(parser, s)
		return exitDone
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "%s %s\n", styleOf(stderr).bad("error:"), err)
		fmt.Fprintf(stderr, "try: %s\n", helpFor(parser, err))
		return exitUsage
	}
	s.globals = g.globals
	for _, p := range k.Path {
		if p.Flag != nil {
			s.given = append(s.given, p.Flag.Name)
		}
	}
	if own, ok := k.Selected().Target.Addr().Interface().(interface{ limitsWork() bool }); s.Timeout > 0 && !(ok && own.limitsWork()) {
		var cancel context.CancelFunc
		s.ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	err = k.Run(s)
	var e *exit
	if err != nil && ctx.Err() != nil && !errors.As(err, &e) {
		err = ctx.Err() // whatever failed, it failed because of Ctrl-C
	}
	s.explain(err)
	return codeOf(err)
}

// commandOf names the command whose help answers a usage error.
func commandOf(err error) string {
	var usage *kong.ParseError
	name := "go-cluster"
	if !errors.As(err, &usage) || usage.Context == nil {
		return name
	}
	for _, p := range usage.Context.Path {
		if p.Command != nil {
			name += " " + p.Command.Name
		}
	}
	return name
}

// helpFor is where to read on after a usage error. Who forgets the noun is told the commands that have the verb.
func helpFor(parser *kong.Kong, err error) string {
	name := commandOf(err)
	verb, found := strings.CutPrefix(err.Error(), "unexpected argument ")
	if !found || name != parser.Model.Name {
		return name + " --help"
	}
	verb, _, _ = strings.Cut(verb, ",")
	var meant []string
	for _, leaf := range parser.Model.Leaves(true) {
		if leaf.Name == verb {
			meant = append(meant, leaf.Parent.FullPath()+" "+verb)
		}
	}
	if len(meant) == 0 {
		return name + " --help"
	}
	return strings.Join(meant, " or ")
}

// explain prints an error that nobody has printed yet, and the next step where there is one.
func (s *session) explain(err error) {
	var e *exit
	switch {
	case err == nil, errors.As(err, &e) && e.err == nil:
		return
	case e == nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(s.err, "interrupted")
		return
	}
	text, rules := unfold(err)
	fmt.Fprintf(s.err, "%s %s\n", styleOf(s.err).bad("error:"), strings.TrimRight(text, "\n"))
	s.rejections(s.err, "  ", rules)
	if hint := s.hint(err); hint != "" {
		fmt.Fprintf(s.err, "try: %s\n", hint)
	}
}

// whatThereIs is the command that lists what could have been named.
func whatThereIs(detail string) string {
	for _, noun := range []string{"app", "node", "migration"} {
		if strings.Contains(detail, "no "+noun+" ") || strings.Contains(detail, "no such "+noun) {
			return "go-cluster " + noun + " list"
		}
	}
	return ""
}

// unfold takes the rules out of a refusal's text, to be shown as a table: none when the text names the only one.
func unfold(err error) (text string, rules []events.Rejection) {
	var refusal *api.Error
	text = err.Error()
	if !errors.As(err, &refusal) || len(refusal.Rejections) == 0 {
		return text, nil
	}
	text = strings.Replace(text, refusal.Error(), refusal.Detail, 1)
	if rules = refusal.Rejections; len(rules) == 1 && strings.Contains(text, rules[0].Detail) {
		return readable(text), nil
	}
	return readable(text), rules
}

// hint is the next step after an error.
func (s *session) hint(err error) string {
	var (
		e       *exit
		refusal *api.Error
	)
	if errors.As(err, &e) && e.hint != "" {
		return e.hint
	}
	if !errors.As(err, &refusal) {
		return ""
	}
	switch refusal.Code {
	case api.CodeNotFound:
		return whatThereIs(refusal.Detail)
	case api.CodeUnavailable:
		return "nats micro ls, to see which services answer on this server"
	case api.CodeTimeout:
		return "look at what is so now (go-cluster migration list), and repeat the command if it is still needed"
	case api.CodeConflict:
		return "look at the present state and repeat the command"
	case api.CodeExpired:
		return "repeat the command: nothing has been done"
	}
	return ""
}
