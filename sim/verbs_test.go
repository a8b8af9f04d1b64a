package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// verb is one thing that a scenario can say.
type verb struct {
	least int // words that it needs
	takes string
	do    func(r *runner, args []string) error
}

// verbs are all of them. What ends with well is a fault that heal or well ends.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		// What people do.
		"apply":     {2, "an app and keys of its spec: apply db mode=singleton require=[\"tier=x\"]", (*runner).apply},
		"remove":    {1, "an app", func(r *runner, a []string) error { r.app(api.AppRemove, a[0]); return nil }},
		"restart":   {1, "an app", func(r *runner, a []string) error { r.app(api.AppRestart, a[0]); return nil }},
		"again":     {1, "an app, which is restarted by a command that is sent once more later", func(r *runner, a []string) error { r.again(a[0]); return nil }},
		"move":      {1, "an app, and a node to move its first instance to", (*runner).move},
		"cancel":    {1, "an app, whose oldest migration is cancelled", (*runner).cancel},
		"label":     {2, "a node and labels: label n1 zone=b tier-", (*runner).label},
		"cordon":    {1, "a node", func(r *runner, a []string) error { r.node(api.NodeCordon, a[0]); return nil }},
		"uncordon":  {1, "a node", func(r *runner, a []string) error { r.node(api.NodeUncordon, a[0]); return nil }},
		"drain":     {1, "a node, and timeout=30s, force=true, delete=true", (*runner).drain},
		"undrain":   {1, "a node", func(r *runner, a []string) error { r.node(api.NodeDrainCancel, a[0]); return nil }},
		"evacuate":  {1, "a selector, and timeout=30s", (*runner).evacuate},
		"approve":   {1, "an app, whose proposals are approved of", func(r *runner, a []string) error { r.judge(api.MigrationApprove, a[0]); return nil }},
		"deny":      {1, "an app, whose proposals are denied", func(r *runner, a []string) error { r.judge(api.MigrationDeny, a[0]); return nil }},
		"rebalance": {0, "nothing", func(r *runner, _ []string) error { r.rebalance(); return nil }},
		"policy":    {0, "keys of the policy: policy auto_rebalance.enabled=true", (*runner).policy},
		"freeze":    {0, "nothing", func(r *runner, _ []string) error { r.freeze(); return nil }},
		"unfreeze":  {0, "nothing", func(r *runner, _ []string) error { r.unfreeze(); return nil }},
		"lost":      {1, "a node that is off: an operator says so", func(r *runner, a []string) error { r.lost(a[0]); return nil }},
		"forget":    {1, "a node to remove from the registry", func(r *runner, a []string) error { r.node(api.NodeRemove, a[0]); return nil }},

		// What happens to machines and processes; a name is that of a node or of a process with services.
		"kill":      {1, "a node's agent or services, and hard", (*runner).killProcess},
		"start":     {1, "a node's agent or services", (*runner).startProcess},
		"crash":     {1, "a node", func(r *runner, a []string) error { r.crash(a[0]); return nil }},
		"replace":   {1, "a node, whose machine is gone: another takes its name", func(r *runner, a []string) error { return r.replace(a[0]) }},
		"forgetful": {0, "nothing: the leases are lost, with all that is stored of them", func(r *runner, _ []string) error { r.loseLeases(); return nil }},
		"join":      {1, "a new node and its labels", (*runner).join},
		"clock":     {2, "a process and how far its wall clock is off from now on: clock n1 -1h", (*runner).clock},

		// What happens to the network.
		"cut":    {1, "a process, whose connections end", link((*Link).Cut)},
		"deafen": {1, "a process, which hears nothing", link((*Link).Deafen)},
		"mute":   {1, "a process, of which nothing is heard", link((*Link).Mute)},
		"pause":  {1, "a process, which nothing reaches or leaves until it is healed", link((*Link).Hold)},
		"noise":  {1, "a process, whose messages are lost, repeated or late: noise n1 lose=10 repeat=10 late=10 delay=2s seed=1", (*runner).noise},
		"heal":   {1, "a process", link((*Link).Heal)},
		"nats":   {1, "stop or start", (*runner).nats},

		// What programs do.
		"behave": {2, "an app, a node, and start=3s stop=2s fails=\"exit status 1\"", (*runner).behaviour},
		"giveup": {2, "an instance and a node where it fails for good", func(r *runner, a []string) error {
			r.c.Programs.GiveUp(a[1], a[0], "exit status 1, restarts used up")
			return nil
		}},

		// What is wanted.
		"well":        {0, "nothing: every fault ends", func(r *runner, _ []string) error { r.well(); return nil }},
		"steady":      {0, "nothing: the cluster comes to rest, and what runs is what the log wants", func(r *runner, _ []string) error { r.settle(r.c.T); return nil }},
		"conformance": {0, "nothing: every instance is where its rules allow", (*runner).conformance},
		"balance":     {0, "nothing, or the largest imbalance: balance 0.2", (*runner).balance},
		"expect":      {2, "an app and pending, nodes, or a number of instances: expect db on n1 n2, expect web count 3, expect db pending", (*runner).expect},
		"written":     {2, "an app and how many acknowledged writes its data have at least", (*runner).written},
		"migrations":  {2, "an app and how many of it have completed at least", (*runner).migrations},
	}
}

func link(do func(*Link)) func(*runner, []string) error {
	return func(r *runner, a []string) error {
		if p := r.process(a[0]); p != nil {
			r.still()
			do(p.link)
		}
		return nil
	}
}

// options reads what is left of a verb's words into the given variables.
func options(words []string, into map[string]any) error {
	given, err := pairs(words)
	if err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(given)) {
		v := given[k]
		switch p := into[k].(type) {
		case *int:
			*p, err = strconv.Atoi(v)
		case *uint64:
			*p, err = strconv.ParseUint(v, 10, 64)
		case *bool:
			*p, err = strconv.ParseBool(v)
		case *time.Duration:
			*p, err = time.ParseDuration(v)
		case *string:
			*p = v
		default:
			return fmt.Errorf("unknown option %s", k)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

// document makes a YAML document of dotted keys: migration.step_timeout=10s. A value is YAML itself.
func document(words []string) (string, error) {
	type tree map[string]any
	root := tree{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return "", fmt.Errorf("%q is not key=value", w)
		}
		at := root
		path := strings.Split(key, ".")
		for _, k := range path[:len(path)-1] {
			if _, is := at[k].(tree); !is {
				at[k] = tree{}
			}
			at = at[k].(tree)
		}
		at[path[len(path)-1]] = value
	}
	var write func(t tree, indent string) string
	write = func(t tree, indent string) (s string) {
		for _, k := range slices.Sorted(maps.Keys(t)) {
			if sub, is := t[k].(tree); is {
				s += indent + k + ":\n" + write(sub, indent+"  ")
			} else {
				s += fmt.Sprintf("%s%s: %s\n", indent, k, t[k])
			}
		}
		return s
	}
	return write(root, ""), nil
}

// appOf reads the words of apply.
func appOf(words []string) (spec.App, error) {
	return specOf(append([]string{"name=" + words[0], "process.command=[/bin/app]"}, words[1:]...))
}

// declaredOf reads the words of program.
func declaredOf(words []string) (spec.App, error) {
	app, err := specOf(append([]string{"name=" + words[0]}, words[1:]...))
	if err != nil {
		return spec.App{}, err
	}
	app = app.WithDefaults()
	return app, app.ValidateDeclared()
}

func specOf(words []string) (spec.App, error) {
	doc, err := document(words)
	if err != nil {
		return spec.App{}, err
	}
	apps, err := spec.DecodeApps([]byte(doc))
	if err != nil {
		return spec.App{}, fmt.Errorf("%w in\n%s", err, doc)
	}
	return apps[0], nil
}

// conformance: whatever is placed satisfies every hard rule of its app; what does not is Pending.
func (r *runner) conformance(_ []string) error {
	var wrong []string
	r.c.View(func(v *projections.Cluster) {
		for _, a := range v.SortedApps() {
			for _, in := range a.SortedInstances() {
				n := v.Nodes[in.Node]
				for _, text := range a.Spec.Require {
					if sel, err := spec.ParseSelector(text); (err != nil || !sel.Matches(n.Labels)) && a.Pending == nil {
						wrong = append(wrong, fmt.Sprintf("%s is on %s, which has %v and not %s", in.ID, n.ID, n.Labels, text))
					}
				}
				for _, other := range v.On(n.ID) {
					if slices.Contains(a.Spec.AwayFromApp, other.App) && a.Pending == nil {
						wrong = append(wrong, fmt.Sprintf("%s is on %s beside %s", in.ID, n.ID, other.ID))
					}
				}
			}
			wrong = append(wrong, uncovered(v, a)...)
			if missing := a.Desired() - len(a.Instances); missing > 0 && a.Pending == nil {
				wrong = append(wrong, fmt.Sprintf("%s misses %d instances and is not Pending", a.Name, missing))
			}
		}
	})
	if len(wrong) > 0 {
		return fmt.Errorf("not conforming: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// uncovered: one of a spread app is on every node that its labels allow, where nothing else can keep it away.
func uncovered(v *projections.Cluster, a *projections.App) (wrong []string) {
	if a.Spec.Mode != spec.Spread || a.Removed || len(a.Spec.AwayFromApp) > 0 || a.Spec.Resources.Memory > 0 || a.Pending != nil {
		return nil
	}
	for _, n := range v.SortedNodes() {
		fits := n.Status == projections.StatusReady && !n.Cordoned && !n.Draining()
		for _, ev := range v.Evacuations {
			fits = fits && (ev.State != api.OrderOpen || !ev.Selector.Matches(n.Labels))
		}
		for _, text := range a.Spec.Require {
			sel, err := spec.ParseSelector(text)
			fits = fits && err == nil && sel.Matches(n.Labels)
		}
		for _, other := range v.On(n.ID) {
			fits = fits && !slices.Contains(v.Apps[other.App].Spec.AwayFromApp, a.Name)
		}
		if in := a.Instances[spec.InstanceOn(a.Name, n.ID)]; fits && in == nil {
			wrong = append(wrong, fmt.Sprintf("%s is not on %s, which has %v", a.Name, n.ID, n.Labels))
		}
	}
	return wrong
}

// balance: no legal move would improve it, or it is as even as said.
func (r *runner) balance(args []string) error {
	var imbalance float64
	var moves int
	r.c.View(func(v *projections.Cluster) {
		imbalance, moves = placement.Imbalance(v).Imbalance, len(placement.Balance(v, nil).Moves)
	})
	if len(args) == 0 {
		if moves > 0 {
			return fmt.Errorf("imbalance %.2f, and %d moves would improve it", imbalance, moves)
		}
		return nil
	}
	most, err := strconv.ParseFloat(args[0], 64)
	if err == nil && imbalance > most {
		err = fmt.Errorf("imbalance is %.2f, at most %.2f wanted", imbalance, most)
	}
	return err
}

func (r *runner) expect(args []string) error {
	var on []string
	pending := false
	r.c.View(func(v *projections.Cluster) {
		if a := v.Apps[args[0]]; a != nil {
			pending = a.Pending != nil
			for _, in := range a.SortedInstances() {
				on = append(on, in.Node)
			}
		}
	})
	slices.Sort(on)
	switch args[1] {
	case "pending":
		if !pending {
			return fmt.Errorf("%s is not Pending, it is on %v", args[0], on)
		}
	case "on":
		if want := slices.Sorted(slices.Values(args[2:])); !slices.Equal(on, want) {
			return fmt.Errorf("%s is on %v, not on %v", args[0], on, want)
		}
	case "off":
		for _, n := range args[2:] {
			if slices.Contains(on, n) {
				return fmt.Errorf("%s is on %v", args[0], on)
			}
		}
	case "count":
		if fmt.Sprint(len(on)) != args[2] {
			return fmt.Errorf("%s has %d instances, on %v", args[0], len(on), on)
		}
	default:
		return fmt.Errorf("expect %s what?", args[0])
	}
	return nil
}

func (r *runner) written(args []string) error {
	least, err := strconv.Atoi(args[1])
	if n := r.c.Programs.store.acked(args[0]); err == nil && n < least {
		err = fmt.Errorf("the data of %s have %d acknowledged writes, %d wanted", args[0], n, least)
	}
	return err
}

func (r *runner) migrations(args []string) error {
	least, err := strconv.Atoi(args[1])
	done := 0
	r.c.View(func(v *projections.Cluster) {
		for _, m := range v.SortedMigrations() {
			if m.App == args[0] && m.Status == projections.MigrationCompleted {
				done++
			}
		}
	})
	if err == nil && done < least {
		err = fmt.Errorf("%d migrations of %s have completed, %d wanted", done, args[0], least)
	}
	return err
}
