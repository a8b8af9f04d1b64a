package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"sigs.k8s.io/yaml"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// policyCommands is `go-cluster policy`.
type policyCommands struct {
	Show policyShow `cmd:"" help:"Show the guardrails in force, and freezes."`
	Set  policySet  `cmd:"" help:"Replace the guardrails by those of a file."`
	Diff policyDiff `cmd:"" help:"Show what the guardrails of a file would change."`
}

type policyShow struct{}

// Run is called by kong.
func (*policyShow) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	rep, err := c.policy()
	if err != nil {
		return err
	}
	if s.structured() {
		return s.data(rep)
	}
	return s.policyTable(rep)
}

func (c *client) policy() (api.PolicyReply, error) {
	return call[api.ListRequest, api.PolicyReply](c, api.PolicyShow, api.ListRequest{Meta: c.question(0)})
}

func (s *session) policyTable(rep api.PolicyReply) error {
	origin := "never set: these are the defaults"
	if rep.Seq > 0 {
		origin = fmt.Sprintf("set by %s at sequence %d", rep.By, rep.Seq)
	}
	fmt.Fprintf(s.out, "%s\n", s.style.faint("# "+origin))
	for _, d := range rep.Declared {
		word := "# declared by the programs on " + strings.Join(d.Nodes, ", ")
		if d.InForce {
			word += ": in force"
		}
		fmt.Fprintf(s.out, "%s\n", s.style.faint(word))
	}
	fmt.Fprintln(s.out)
	b, err := json.Marshal(rep.Policy, json.Deterministic(true))
	if err == nil {
		b, err = yaml.JSONToYAML(b)
	}
	if err != nil {
		return fmt.Errorf("write the policy as YAML: %w", err)
	}
	fmt.Fprintf(s.out, "%s\n", b)
	fmt.Fprintf(s.out, "enforced by this version: %s\n", orNone(rep.Enforce))
	stored, err := onlyStored(rep.Policy, rep.Enforce)
	if err != nil {
		return err
	}
	if len(stored) > 0 {
		fmt.Fprintf(s.out, "%s %s\n", s.style.warn("stored only, not enforced:"), strings.Join(stored, ", "))
	}
	for _, source := range slices.Sorted(maps.Keys(rep.Frozen)) {
		fmt.Fprintf(s.out, "%s by %s: %s\n", s.style.warn("moves are frozen"), source, rep.Frozen[source])
	}
	return nil
}

// onlyStored names the guardrails that a policy sets and nobody judges yet, sorted.
func onlyStored(policy spec.Policy, enforced []string) ([]string, error) {
	keys, err := policyKeys(policy)
	if err != nil {
		return nil, err
	}
	var out []string
	for path := range keys {
		section, name, _ := strings.Cut(path, ".")
		if !slices.Contains(enforced, name) && !slices.Contains(enforced, path) && !slices.Contains(enforced, section) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out, nil
}

type policyDiff struct {
	File string `short:"f" required:"" placeholder:"FILE" predictor:"file" help:"File with the whole policy, YAML or JSON; - reads standard input."`
}

// Run is called by kong.
func (cmd *policyDiff) Run(s *session) error {
	policy, err := s.readPolicy(cmd.File)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	changes, err := c.policyChanges(policy)
	if err != nil {
		return err
	}
	return s.print(changes, func() { s.policyDiffTable(changes) })
}

func (s *session) policyDiffTable(changes []policyChange) {
	g := newGrid(s.out, "key", "now", "file")
	for _, ch := range changes {
		g.row(ch.Key, orNothing(ch.Now), orNothing(ch.File))
	}
	g.flush("no difference")
}

func orNothing(v jsontext.Value) string {
	if v == nil {
		return "off"
	}
	return string(v)
}

// policyChange is one key that a file would change; a side that does not set it has none.
type policyChange struct {
	Key  string         `json:"key"`
	Now  jsontext.Value `json:"now,omitempty"`
	File jsontext.Value `json:"file,omitempty"`
}

// policyChanges lists the keys in which a policy would change the one that is in force.
func (c *client) policyChanges(file spec.Policy) ([]policyChange, error) {
	now, err := c.policy()
	if err != nil {
		return nil, err
	}
	return policyChanges(now.Policy, file.WithDefaults())
}

// movesLater says what a policy lets move once it is in force, which no plan of now has; "" where that is no more than before.
func movesLater(now, file spec.AutoRebalancePolicy) string {
	switch {
	case !file.Enabled:
		return ""
	case !now.Enabled:
		return "automatic rebalancing would begin, and may move more later: go-cluster app rebalance --all --dry-run"
	case file.Threshold < now.Threshold:
		return "automatic rebalancing would begin at less imbalance, and may move more later: go-cluster app rebalance --all --dry-run"
	}
	return ""
}

// policyChanges lists the keys in which two policies differ, sorted.
func policyChanges(now, file spec.Policy) ([]policyChange, error) {
	x, err := policyKeys(now)
	if err != nil {
		return nil, err
	}
	y, err := policyKeys(file)
	if err != nil {
		return nil, err
	}
	out := []policyChange{}
	all := maps.Clone(x)
	maps.Copy(all, y)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if string(x[k]) != string(y[k]) {
			out = append(out, policyChange{k, x[k], y[k]})
		}
	}
	return out, nil
}

func policyKeys(p spec.Policy) (map[string]jsontext.Value, error) {
	var sections map[string]map[string]jsontext.Value
	b, err := json.Marshal(p, json.Deterministic(true))
	if err == nil {
		err = json.Unmarshal(b, &sections)
	}
	if err != nil {
		return nil, fmt.Errorf("list the keys of a policy: %w", err)
	}
	out := map[string]jsontext.Value{}
	for section, keys := range sections {
		for k, v := range keys {
			out[section+"."+k] = v
		}
	}
	return out, nil
}

// readPolicy reads a policy file; the error says everything that is wrong with it.
func (s *session) readPolicy(file string) (spec.Policy, error) {
	b, err := s.readFile(file)
	if err != nil {
		return spec.Policy{}, err
	}
	policy, err := spec.DecodePolicy(b)
	if err == nil {
		err = policy.Validate()
	}
	if err != nil {
		return spec.Policy{}, fail(exitUsage, "%s", listed(faultLines(file, err)))
	}
	return policy, nil
}

type policySet struct {
	PlanFlags
	File string `short:"f" required:"" placeholder:"FILE" predictor:"file" help:"File with the whole policy, YAML or JSON; - reads standard input."`
}

// Help is printed by kong.
func (*policySet) Help() string {
	return `The file replaces the policy: what it does not say is off. {} switches every guardrail off.

Examples:
  go-cluster policy set -f policy.yaml
  go-cluster policy show -o json | jq .policy > policy.json`
}

// Run is called by kong.
func (cmd *policySet) Run(s *session) error {
	policy, err := s.readPolicy(cmd.File)
	if err != nil {
		return fail(exitUsage, "policy not set: %w", err)
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	if cmd.DryRun {
		now, err := c.policy()
		if err != nil {
			return err
		}
		changes, err := policyChanges(now.Policy, policy.WithDefaults())
		if err != nil {
			return err
		}
		if !s.structured() {
			s.policyDiffTable(changes)
			fmt.Fprintln(s.out)
		}
		if later := movesLater(now.Policy.AutoRebalance, policy.AutoRebalance); later != "" {
			s.sayf("%s", later)
		}
		return c.dryRun(cmd.PlanFlags, api.PreviewRequest{Policy: &api.PolicyRequest{Policy: policy}}, len(changes) > 0)
	}
	return c.setPolicy(api.PolicyRequest{Meta: c.command(), Policy: policy})
}

func (c *client) setPolicy(req api.PolicyRequest) error {
	ack, err := call[api.PolicyRequest, api.Ack](c, api.PolicySet, req)
	if err != nil {
		return err
	}
	c.warnStored(req.Policy)
	return c.print(ack, func() {
		c.sayf("%s", map[bool]string{true: "policy set", false: "policy unchanged"}[ack.Changed])
	})
}

// warnStored tells who relies on a guardrail that nothing is done about it yet.
func (c *client) warnStored(policy spec.Policy) {
	now, err := c.policy()
	if err != nil {
		c.notef("%s which guardrails are enforced is not known: %v", styleOf(c.err).warn("warning:"), err)
		return
	}
	if stored, err := onlyStored(policy, now.Enforce); err == nil && len(stored) > 0 {
		c.notef("%s stored, but not enforced by this version: %s", styleOf(c.err).warn("warning:"), strings.Join(stored, ", "))
	}
}
