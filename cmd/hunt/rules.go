package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// rule is a rule of the protocol and a test that fails without it: from, in the file, is what makes it hold, and to is the code
// without.
type rule struct {
	number         int
	what           string
	file, from, to string
	pkg, test      string
}

// rules are those that today's features allow. TestRules keeps them true to the code.
var rules = []rule{
	{1, "every append carries the aggregate's last sequence", "events/log.go",
		"jetstream.WithExpectLastSequenceForSubject(head.Seq, filter), ", "", "./events", "TestAppendWithAStaleHead|TestRacingWriters"},
	{2, "after an unknown outcome the log is read, and our own id is success", "events/log.go",
		"case readErr == nil && next.ID == e.ID:", "case readErr == nil && next.ID == \"\":", "./events", "TestAppendWhoseAckIsLost"},
	{3, "nothing is decided before the fold has caught up", "services/loop.go",
		"if !c.caughtUp.Load() {\n\t\t\tc.catchUp(ctx)", "if false {\n\t\t\tc.catchUp(ctx)", "./services", "TestLoop"},
	{3, "a question is answered from a fold that has what was stored before it", "services/core.go",
		"c.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil", "error(nil); err != nil", "./services", "TestAnswersHaveWhatWasStored"},
	{3, "a command is decided on what its sender has seen", "services/command.go",
		"c.DecideOnAll(ctx, r.Meta.MinSeq,", "c.DecideOnAll(ctx, 0,", "./services", "TestAnswersHaveWhatWasStored"},
	{4, "a command whose time is up is refused", "transport/serve.go",
		"e.Command && now.After(r.Meta.Expires)", "false && now.After(r.Meta.Expires)", "./transport", "TestCommandsAtTheDoor|TestExpiredButKnown"},
	{4, "the outcome of a known id is answered, and not made again", "services/command.go",
		"again && !planted.DuplicateCommand", "false && again && !planted.DuplicateCommand", "./services/planner", "TestCommandIsCarriedOutOnce"},
	{4, "a declaration of which a late copy was refused is not carried out", "services/labeler/declare.go",
		"o.Refused != nil {", "false && o.Refused != nil {", "./services/labeler", "TestRefusedDeclaration"},
	{5, "refusals are stored on the service's own aggregate", "services/command.go",
		"Aggregate: events.Request(c.Name), Actor: actor", "Aggregate: events.App(c.Name), Actor: actor", "./services/planner", "TestMove|TestApplyIsRefused"},
	{6, "plans are split below what an event may have", "services/planner/admission.go",
		"size > maxAdmission && len(data.Moves) > 0", "false && size > maxAdmission", "./services/planner", "TestAdmissionsFit"},
	{7, "an aggregate with a malformed event is followed and left alone", "projections/apply.go",
		"if _, bad := c.Quarantined[e.Aggregate]; bad {", "if false {", "./projections", "TestMalformedMessages|TestBrokenChains"},
	{8, "an app's epochs go on from the highest that any node has seen", "projections/apply.go",
		"a.Epoch = max(a.Epoch, n.Epochs[name])", "_ = n", "./projections", "TestEpochsFromJoined"},
	{8, "a reader stops when what it has read is no longer there as it was", "events/void.go",
		"err == nil && hashOf(m.Data) != hash", "err == nil && hashOf(m.Data) == \"\"", "./projections", "TestReplicaAheadOfTheStream"},
	{9, "what is on its way to a node takes its place there", "placement/usage.go",
		"planted.ForgetInFlight", "(true || planted.ForgetInFlight)", "./sim", "TestMadeHistories"},
	{10, "a migration is judged again before it starts", "services/migrator/next.go",
		"if rules := d.judged(); len(rules) > 0 {\n\t\treturn d.stale(rules)\n\t}\n\treturn d.started(", "return d.started(", "./services/migrator", "TestScenarios"},
	{10, "what was lost on its way to the log is decided anew", "services/loop.go",
		"Fresh = 4 * time.Second", "Fresh = 400 * time.Second", "./services/migrator", "TestService"},
	{10, "a plan that was lost on its way to the log is made anew", "services/planner/planner.go",
		"ctx, cancel := context.WithTimeout(ctx, services.Fresh)", "ctx, cancel := context.WithCancel(ctx)", "./services/planner", "TestPlansStayFresh"},
	{10, "a plan that only the time called for, and was lost, is made anew", "services/planner/planner.go",
		"done = 0 // what", "// what", "./services/planner", "TestLostPlansAreMadeAgain"},
	{10, "a restart in place is given up before anything stops where data cannot be shipped", "services/migrator/strategy.go",
		"events.KindInPlace: {hookStart, syncing, stepDown,", "events.KindInPlace: {hookStart, stepDown,", "./services/migrator", "TestScenarios"},
	{10, "a rebalance that was lost on its way to the log is proposed anew", "services/rebalancer/rebalancer.go",
		"ctx, cancel := context.WithTimeout(ctx, services.Fresh)", "ctx, cancel := context.WithCancel(ctx)", "./services/rebalancer", "TestTriggersStayFresh"},
	{11, "no migration starts beside an open one of the same object", "placement/eligible.go",
		"o.Migration != m.Migration && o.Status", "false && o.Status", "./services/migrator", "TestScenarios"},
	{12, "the loss of an incarnation ends its instances", "projections/apply.go",
		"\t\t\tn.Status = StatusLost\n\t\t}\n\t\tc.loseIncarnation(e, d)", "\t\t\tn.Status = StatusLost\n\t\t}", "./projections", "TestLostIncarnation"},
	{12, "the loss of a silent node does not end what continues in isolation", "projections/apply.go",
		"!d.Confirmed && a.ContinuesInIsolation()", "!d.Confirmed && false", "./placement", "TestScenarios"},
	{12, "the log has the end of an incarnation once", "services/labeler/silence.go",
		"n.Over == inc || ", "", "./services/labeler", "TestViewBehindTheFoldLoses"},
	{13, "a drain is complete with nothing on the node", "services/planner/orders.go",
		"(len(left) == 0 || planted.DrainEarly) && open == 0", "(true || planted.DrainEarly) && open == 0", "./services/planner", "TestDrain"},
	{14, "where a migration failed is left alone for a while", "placement/eligible.go",
		"if !ok || !b.Until.After(now) {", "if true || !ok || b.Until.After(now) {", "./placement", "TestScenarios"},
	{15, "a standing order is held move by move, and each says why", "placement/plan.go",
		"p.plan.Held = append(p.plan.Held, Held{d, holds, turn})", "_ = turn", "./placement", "TestScenarios"},
	{15, "what is held is looked at again when its time is up", "placement/plan.go",
		"p.plan.Wake = earliest(p.plan.Wake, h.Until)", "_ = h", "./placement", "TestScenarios"},
	{16, "a migration is pinned to the revision of its spec", "placement/eligible.go",
		"waiting && a.SpecRev != m.SpecRev", "false && a.SpecRev != m.SpecRev", "./services/migrator", "TestScenarios"},
	{17, "a migration is cancelled before its commit", "services/migrator/next.go",
		"case m.Cancel != nil, m.Order == nil:", "case m.Order == nil:", "./services/migrator", "TestScenarios"},
	{17, "nothing is cancelled after its commit", "services/planner/commands.go",
		"case m.Committed:", "case false:", "./services/planner", "TestCancelMigration"},
	{18, "nothing timed is decided without a clock", "services/planner/orders.go",
		"d.Deadline.IsZero() || !sure || now.Before(d.Deadline)", "d.Deadline.IsZero() || now.Before(d.Deadline)", "./services/planner", "TestNothingTimedWithoutAClock|TestDrain"},
	{18, "without heartbeats nobody knows the time", "services/leaseview.go",
		"return v.clock.Now(v.boot())", "now, _ = v.clock.Now(v.boot()); return now, true", "./services", "TestNoClockWithoutHeartbeats"},
	{19, "over a closed lease an agent only yields", "agent/lease.go",
		"if own {\n\t\t\treturn leaseStep{do: leaseYield, inc: l.Inc, n: l.N}\n\t\t}", "if own {\n\t\t\treturn begin(l.N + 1)\n\t\t}", "./agent", "TestNextLeaseStep|TestNeverHeldOverAnother"},
	{20, "another machine of the same id never takes a held lease", "agent/lease.go",
		"return leaseStep{do: leaseRefuse, why:", "return leaseStep{do: leaseBegin, why:", "./agent", "TestNextLeaseStep|TestNeverHeldOverAnother"},
	{20, "an incarnation whose lease is another machine's is waited out", "services/labeler/displaced.go",
		"return live(n) && (", "return false && live(n) && (", "./services/labeler", "TestSilence"},
	{21, "a deadline counts from before the renewal was sent", "agent/lease.go",
		"return t.sent + ttl - margin", "return t.sent + 2*ttl - margin", "./agent", "TestDeadlineIsNeverTooLate"},
	{21, "a takeover waits for a tenth more than the lease", "services/labeler/silence.go",
		"return ttl + ttl/10 + epsilon", "return ttl / 2", "./services/labeler", "TestSilence"},
	{22, "a grant needs the end of exactly the holder before", "services/migrator/giveup.go",
		"if d.released() || l.Inc == inc {", "if true {", "./services/migrator", "TestGrantNeedsTheEnd"},
	{23, "silence counts only while our own heartbeats are acknowledged", "services/labeler/silence.go",
		"!j.s.Beating || j.s.Now-j.s.Acked >= ackFresh", "false", "./services/labeler", "TestSilence"},
	{23, "when more than half are silent together none is closed", "services/labeler/silence.go",
		"j.Mass = 2*j.silent > j.total", "j.Mass = false", "./services/labeler", "TestSilence|TestMassSilenceFreezes"},
	{24, "what continues in isolation is not touched without somebody's word", "placement/plan.go",
		"case !a.ContinuesInIsolation():\n\t\treturn \"\"", "case true:\n\t\treturn \"\"", "./placement", "TestScenarios"},
	{25, "an order is done once and its result repeated", "agent/assignment.go",
		"} else if !k.told(o.seq) {", "} else if false {", "./agent", "TestNext"},
	{26, "a report answers the open order of its node", "services/migrator/report.go",
		"o == nil || o.Seq != r.OrderSeq && !planted.StaleOrder", "o == nil || planted.StaleOrder", "./services/migrator", "TestScenarios|TestFaults"},
	{27, "an agent's durable is made when it joins", "services/labeler/declare.go",
		"durable, err := transport.EnsureNodeDurable(ctx, s.JS, s.Subjects, req.Node)", "durable, err := \"agent-\"+req.Node, ctx.Err()", "./services/labeler", "TestDeclareRoundTrip"},
	{27, "an agent's durable goes with the node", "services/labeler/commands.go",
		"if err := transport.DeleteNodeDurable(ctx, s.JS, s.Subjects, node); err != nil {", "if err := ctx.Err(); err != nil {", "./services/labeler", "TestSilentNodeIsLost"},
	{28, "a node refuses every epoch below the highest it has seen", "agent/epochs.go",
		"case epoch < high:", "case false:", "./agent", "TestEpochsSurviveAndRefuseLower"},
	{29, "a way back is a new epoch, never the old one", "services/migrator/giveup.go",
		"\treturn e + 1\n", "\treturn e\n", "./services/migrator", "TestScenarios|TestFaults"},
	{30, "an address is off when its node's lease is over", "agent/vips.go",
		"d.limit = deadline - d.margin", "d.limit = deadline + d.ttl", "./agent", "TestVIP"},
	{31, "what a node comes back with is told", "services/migrator/leases.go",
		"lost.Data.Epoch < a.Epoch && !told", "false && lost.Data.Epoch < a.Epoch && !told", "./services/migrator", "TestLostDataIsToldOnce"},
	{31, "who has stepped down lets go of its database", "cluster/sqlite/term.go",
		"_ = c.kill()", "_ = c", "./cluster/sqlite", "TestMovesUnderWrites"},
	{32, "a member is stopped only after its replacement has been healthy", "services/migrator/next.go",
		"planted.StopBeforeStart && a.Spec.Mode", "(true || planted.StopBeforeStart) && a.Spec.Mode", "./sim", "TestMadeHistories|TestModel"},
	{34, "wait-stable waits for what is open", "services/planner/questions.go",
		"wait(\"migration %s of %s is open\", m.Migration, m.Instance)", "_ = m", "./services/planner", "TestStable"},
}

// without runs a rule's test on the code without it.
func (r rule) without(dir string) (o outcome, out string, err error) {
	text, err := os.ReadFile(r.file)
	if err != nil {
		return "", "", err
	}
	if n := strings.Count(string(text), r.from); n != 1 {
		return "", "", fmt.Errorf("%s has %q %d times", r.file, r.from, n)
	}
	mutant := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(mutant, []byte(strings.Replace(string(text), r.from, r.to, 1)), 0o600); err != nil {
		return "", "", err
	}
	path, err := filepath.Abs(r.file)
	if err != nil {
		return "", "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutant}})
	if err != nil {
		return "", "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		return "", "", err
	}
	o, out = r.try("-overlay", overlay)
	return o, out, nil
}

// try runs a rule's test, with more arguments for go test.
func (r rule) try(more ...string) (outcome, string) {
	args := slices.Concat([]string{"test", "-vet=off", "-run", "^(" + r.test + ")", "-timeout", "5m"}, more, []string{r.pkg})
	out, err := exec.Command("go", args...).CombinedOutput()
	return judged(string(out), err), string(out)
}

// outcome is how a run of tests ended.
type outcome string

const (
	passes  outcome = "passes"
	fails   outcome = "fails" // by its own judgement, or because the code panicked
	unbuilt outcome = "no build"
	late    outcome = "time-out"
	absent  outcome = "no test"
	breaks  outcome = "breaks off" // go test does not say why
)

// judged reads how a run ended from what go test printed and the error of its process. That nothing could be built, or that nothing came of
// it in time, says nothing about a rule.
func judged(out string, err error) outcome {
	switch {
	case strings.Contains(out, "[build failed]"), strings.Contains(out, "[setup failed]"):
		return unbuilt
	case strings.Contains(out, "panic: test timed out"):
		return late
	case err == nil && strings.Contains(out, "[no tests to run]"):
		return absent
	case err == nil:
		return passes
	case strings.Contains(out, "--- FAIL: "), strings.Contains(out, "\npanic: "), strings.HasPrefix(out, "panic: "):
		return fails
	}
	return breaks
}

// hold tries every rule and returns how many tests did not mind its absence. A test that does not pass on the code as it is proves nothing.
func hold(dir, only string) (missed int) {
	fmt.Printf("%-5s %-10s %s\n", "RULE", "WITHOUT IT", "WHAT")
	with := map[string]outcome{} // by package and test
	for _, r := range rules {
		if only != "" && only != fmt.Sprint(r.number) {
			continue
		}
		key := r.pkg + " " + r.test
		if with[key] == "" {
			o, out := r.try()
			if with[key] = o; o != passes {
				fmt.Println(out)
			}
		}
		if o := with[key]; o != passes {
			fmt.Printf("%-5d %-10s %s: %s on the code as it is: %s\n", r.number, "?", r.what, key, o)
			missed++
			continue
		}
		o, out, err := r.without(dir)
		switch {
		case err != nil:
			fmt.Printf("%-5d %-10s %s: %v\n", r.number, "?", r.what, err)
			missed++
		case o == passes:
			fmt.Printf("%-5d %-10s %s\n", r.number, o, r.what)
			missed++
		case o != fails:
			fmt.Printf("%-5d %-10s %s\n%s\n", r.number, o, r.what, out)
			missed++
		default:
			fmt.Printf("%-5d %-10s %s: %s\n", r.number, o, r.what, key)
		}
	}
	return missed
}
