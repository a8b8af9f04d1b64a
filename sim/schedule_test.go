package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// history is what happens to a cluster, and when.
type history struct {
	name  string
	nodes map[string]map[string]string
	steps []happening
}

// happening is one thing that is done to the cluster.
type happening struct {
	at   time.Duration
	text string
	do   func(*runner)
}

// author writes a history. It draws everything beforehand, so that a history does not depend on how the cluster takes it.
type author struct {
	*rand.Rand
	history
	ids      []string
	names    []string
	replicas []string
	apps     map[string]spec.App // as written last
	version  int
}

func schedule(seed uint64) history {
	a := &author{Rand: rand.New(rand.NewPCG(seed, 1)), history: history{name: fmt.Sprint("seed ", seed), nodes: map[string]map[string]string{}}, apps: map[string]spec.App{}}
	for i := range 3 + a.IntN(4) {
		id := fmt.Sprint("n", i+1)
		a.ids = append(a.ids, id)
		a.nodes[id] = map[string]string{"zone": one(a, "a", "b"), "tier": one(a, "x", "x", "y")}
	}
	a.replicas = []string{"s1", "s2", "s3"}[:1+a.IntN(3)]
	for _, s := range a.replicas[1:] {
		a.add(0, "start services "+s, func(r *runner) { r.startServices(s) })
	}
	at := time.Second
	for _, name := range []string{"a", "b", "d", "e", "f"}[:2+a.IntN(4)] {
		a.names = append(a.names, name)
		a.apply(at, a.newApp(name))
		at += time.Duration(a.IntN(3000)) * time.Millisecond
	}
	end := time.Duration(2+a.IntN(5)) * time.Minute
	pace := one(a, 9*time.Second, 9*time.Second, 3*time.Second, time.Second)
	for at += 2 * time.Second; at < end && len(a.steps) < 150; at += time.Duration(100+a.ExpFloat64()*float64(pace/time.Millisecond)) * time.Millisecond {
		a.something(at)
	}
	slices.SortStableFunc(a.steps, func(x, y happening) int { return int(x.at - y.at) })
	return a.history
}

func one[T any](a *author, of ...T) T { return of[a.IntN(len(of))] }

func (a *author) add(at time.Duration, text string, do func(*runner)) {
	a.steps = append(a.steps, happening{at, text, do})
}

func (a *author) newApp(name string) spec.App {
	app := spec.App{Name: name, Mode: one(a, spec.Singleton, spec.Singleton, spec.Replicas), Process: &spec.Process{StopTimeout: spec.Duration(5 * time.Second)}}
	app.Migration.StepTimeout = spec.Duration(10 * time.Second)
	if app.Mode == spec.Replicas {
		app.Replicas = new(1 + a.IntN(3))
		app.Migration.MaxParallel = 1 + a.IntN(2)
		app.Migration.MinHealthyTime = spec.Duration(a.IntN(3)) * spec.Duration(time.Second)
	} else if a.IntN(4) == 0 {
		app.OnIsolation = spec.OnIsolationContinue
	}
	app.OnInvalid = one(a, "", "", spec.OnInvalidKeep)
	a.rules(&app)
	a.command(&app)
	return app
}

func (a *author) rules(app *spec.App) {
	app.Require = one(a, nil, nil, []string{"tier=x"}, []string{"tier=y"}, []string{"zone in (a, b)"}, []string{"tier!=y"})
	app.Prefer = one(a, nil, []spec.Preference{{Label: "zone=a"}}, []spec.Preference{{Node: a.ids[0], Weight: -50}})
	app.AwayFromApp = nil
	if len(a.names) > 1 && a.IntN(4) == 0 && a.names[0] != app.Name {
		app.AwayFromApp = []string{a.names[0]}
	}
	app.Resources.Memory = one[spec.Bytes](a, 0, 0, 6<<30)
}

func (a *author) command(app *spec.App) {
	a.version++
	p := *app.Process
	p.Command = []string{one(a, "/bin/app", "/bin/app", "/bin/app", "/bin/app", Broken), fmt.Sprint("v", a.version)}
	app.Process = &p
}

func (a *author) apply(at time.Duration, app spec.App) {
	a.apps[app.Name] = app
	replicas := 1
	if app.Replicas != nil {
		replicas = *app.Replicas
	}
	a.add(at, fmt.Sprintf("apply %s: %s ×%d %v require %v away %v %s %s", app.Name, app.Mode, replicas, app.Process.Command, app.Require, app.AwayFromApp, app.OnInvalid, app.OnIsolation),
		func(r *runner) { r.apply(app) })
}

// disturbance is what can be wrong with a link.
type disturbance string

const (
	cut    disturbance = "cut"
	deafen disturbance = "deafen"
	mute   disturbance = "mute"
)

// something makes one thing happen, and where it has to end some time, its end.
func (a *author) something(at time.Duration) {
	node, app := one(a, a.ids...), one(a, a.names...)
	long := time.Duration(a.ExpFloat64() * float64(40*time.Second)).Truncate(time.Millisecond)
	short := time.Duration(a.ExpFloat64() * float64(6*time.Second)).Truncate(time.Millisecond)
	switch n := a.IntN(100); {
	case n < 14:
		key, value := one(a, "zone", "tier"), ""
		if value = one(a, "x", "y"); key == "zone" {
			value = one(a, "a", "b", "c")
		}
		a.add(at, fmt.Sprintf("label %s %s=%s", node, key, value), func(r *runner) { r.label(node, key, value) })
	case n < 18:
		a.add(at, "cordon "+node, func(r *runner) { r.cordon(node) })
		a.add(at+long, "uncordon "+node, func(r *runner) { r.uncordon(node) })
	case n < 26:
		timeout := one(a, 0, 0, 5*time.Second, 30*time.Second)
		force := timeout > 0 && a.IntN(2) == 0
		a.add(at, fmt.Sprintf("drain %s timeout %s force %t", node, timeout, force), func(r *runner) { r.drain(node, timeout, force) })
		if a.IntN(3) == 0 {
			a.add(at+short, "cancel the drain of "+node, func(r *runner) { r.undrain(node) })
		}
		a.add(at+long, "uncordon "+node, func(r *runner) { r.undrain(node); r.uncordon(node) })
	case n < 29:
		zone := one(a, "zone=a", "zone=c", "tier=y")
		timeout := one(a, 0, 10*time.Second, 30*time.Second)
		a.add(at, fmt.Sprintf("evacuate %s timeout %s", zone, timeout), func(r *runner) { r.evacuate(zone, timeout) })
	case n < 37:
		a.add(at, "move "+app, func(r *runner) { r.move(app, "") })
	case n < 42:
		a.add(at, "move "+app+" to "+node, func(r *runner) { r.move(app, node) })
	case n < 46:
		a.add(at, "restart "+app, func(r *runner) { r.restart(app) })
	case n < 51:
		now := a.apps[app]
		a.command(&now)
		a.apply(at, now)
	case n < 57:
		now := a.apps[app]
		if a.rules(&now); now.Mode == spec.Replicas {
			now.Replicas = new(a.IntN(5))
		}
		a.apply(at, now)
	case n < 60:
		a.add(at, "remove "+app, func(r *runner) { r.remove(app) })
		a.apply(at+short, a.apps[app]) // too early perhaps: it is refused while something of it is left
		a.apply(at+long, a.newApp(app))
	case n < 63:
		a.add(at, "rebalance", func(r *runner) { r.rebalance() })
	case n < 66:
		a.add(at, "cancel a migration of "+app, func(r *runner) { r.cancel(app) })
	case n < 68:
		auto := a.IntN(2) == 0
		a.add(at, fmt.Sprintf("policy: auto rebalance %t", auto), func(r *runner) { r.policy(auto) })
	case n < 71:
		a.add(at, "freeze", func(r *runner) { r.freeze() })
		a.add(at+long, "unfreeze", func(r *runner) { r.unfreeze() })
	case n < 75:
		hard := a.IntN(2) == 0
		a.add(at, fmt.Sprintf("kill the agent of %s, hard %t", node, hard), func(r *runner) { r.killAgent(node, hard) })
		a.add(at+one(a, short, short, long), "start the agent of "+node, func(r *runner) { r.startAgent(node) })
	case n < 79:
		a.add(at, "crash "+node, func(r *runner) { r.crash(node) })
		if a.IntN(3) == 0 {
			a.add(at+long/2, "lost, confirmed: "+node, func(r *runner) { r.lost(node) })
		}
		a.add(at+one(a, short, long), "start the agent of "+node, func(r *runner) { r.startAgent(node) })
	case n < 83:
		how := one(a, cut, deafen, mute)
		a.add(at, string(how)+" "+node, func(r *runner) { r.disturb(r.c.nodes[node], how) })
		a.add(at+one(a, short, long), "heal "+node, func(r *runner) { r.heal(r.c.nodes[node]) })
	case n < 86:
		s, how := one(a, a.replicas...), one(a, cut, deafen, mute)
		a.add(at, string(how)+" services "+s, func(r *runner) { r.disturb(r.c.replicas[s], how) })
		a.add(at+one(a, short, short, long), "heal services "+s, func(r *runner) { r.heal(r.c.replicas[s]) })
	case n < 90:
		s, hard := one(a, a.replicas...), a.IntN(2) == 0
		a.add(at, fmt.Sprintf("kill services %s, hard %t", s, hard), func(r *runner) { r.killServices(s, hard) })
		a.add(at+short, "start services "+s, func(r *runner) { r.startServices(s) })
	case n < 97:
		b := one(a, Behaviour{StartTakes: 3 * time.Second}, Behaviour{StopTakes: 2 * time.Second}, Behaviour{StartTakes: time.Second, StopTakes: time.Second},
			Behaviour{StartTakes: 20 * time.Second}, Behaviour{StopTakes: 25 * time.Second}, Behaviour{Fails: "exit status 1"}, Behaviour{StartTakes: 2 * time.Second, Fails: "exit status 2"})
		a.add(at, fmt.Sprintf("%s on %s behaves %+v", app, node, b), func(r *runner) { r.behave(node, app, b) })
		a.add(at+long, fmt.Sprintf("%s on %s behaves well", app, node), func(r *runner) { r.behave(node, app, Behaviour{}) })
	case n < 98:
		a.add(at, "stop NATS", func(r *runner) { r.stopNATS() })
		a.add(at+one(a, short, short, long), "start NATS", func(r *runner) { r.startNATS() })
	case n < 99:
		a.add(at, "remove node "+node, func(r *runner) { r.node(api.NodeRemove, node) })
	default:
		slot := a.IntN(2)
		a.add(at, fmt.Sprintf("%s-%d on %s gives up", app, slot, node), func(r *runner) {
			r.c.Programs.GiveUp(node, spec.InstanceID(app, slot), "exit status 1, restarts used up")
		})
	}
}

// mended returns the app with a program that works.
func mended(app spec.App) spec.App {
	p := *app.Process
	p.Command = append([]string{"/bin/app"}, p.Command[1:]...)
	app.Process = &p
	return app
}
