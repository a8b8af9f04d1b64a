package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// author writes a scenario. It draws everything beforehand, so that a scenario does not depend on how the cluster takes it.
type author struct {
	*rand.Rand
	data *rand.Rand // for what concerns standbys and local data alone: the rest of a scenario does not depend on it
	scenario
	ids   []string // nodes
	names []string // apps
	apps  map[string]*draft
	pace  time.Duration
}

// draft is an app as it was written last.
type draft struct {
	mode, command, rules, size, rest, standbys string
	version                                    int
}

func (d *draft) words() string {
	return strings.Join(slices.DeleteFunc([]string{"mode=" + d.mode, d.command, d.rules, d.size, d.rest, d.standbys}, func(s string) bool { return s == "" }), " ")
}

// long says whether a seed's scenario is one of the few that go on for minutes with up to six nodes and five apps.
func long(seed uint64) bool { return seed%100 == 0 }

// schedule makes up the scenario of a seed.
func schedule(seed uint64) scenario {
	a := &author{Rand: rand.New(rand.NewPCG(seed, 1)), data: rand.New(rand.NewPCG(seed, 2)), scenario: scenario{name: fmt.Sprint("seed ", seed), nodes: map[string]map[string]string{}}, apps: map[string]*draft{}}
	nodes, apps, events, end := 2+a.IntN(3), 1+a.IntN(3), 6+a.IntN(12), time.Duration(25+a.IntN(40))*time.Second
	if long(seed) {
		nodes, apps, events, end = 3+a.IntN(4), 2+a.IntN(4), 150, time.Duration(2+a.IntN(5))*time.Minute
	}
	for i := range nodes {
		id := fmt.Sprint("n", i+1)
		a.ids = append(a.ids, id)
		a.nodes[id] = map[string]string{"zone": one(a, "a", "b"), "tier": one(a, "x", "x", "y")}
	}
	a.services = []string{"s1", "s2", "s3"}[:one(a, 1, 1, 1, 2, 2, 3)]
	a.pace = one(a, 9*time.Second, 9*time.Second, 3*time.Second, time.Second)
	if !long(seed) {
		a.pace = max(end/time.Duration(events), time.Second)
	}
	at := time.Second
	for _, name := range []string{"a", "b", "d", "e", "f"}[:apps] {
		a.names = append(a.names, name)
		a.newApp(at, name)
		at += time.Duration(a.IntN(3000)) * time.Millisecond
	}
	for at += 2 * time.Second; at < end && len(a.steps) < events; at += (100*time.Millisecond + time.Duration(a.ExpFloat64()*float64(a.pace))).Truncate(time.Millisecond) {
		a.something(at)
	}
	a.program(rand.New(rand.NewPCG(seed, 3)), a.ids[:nodes], end)
	slices.SortStableFunc(a.steps, func(x, y happening) int { return int(x.at - y.at) })
	last := a.steps[len(a.steps)-1].at
	a.add(last, "well")
	a.add(last, "steady")
	a.add(last, "conformance")
	return a.scenario
}

// program has each node run a program with a log in every third scenario, and things happen to that. It draws for itself: the rest of a scenario
// does not depend on it.
func (a *author) program(rnd *rand.Rand, ids []string, end time.Duration) {
	if rnd.IntN(3) > 0 {
		return
	}
	own := &author{Rand: rnd}
	words, err := split(fmt.Sprintf("w mode=singleton log=true standbys=%d migration.step_timeout=10s %s %s %s", (rnd.IntN(5)+1)/2,
		one(own, "", "", `require=["tier=x"]`, `require=["zone in (a, b)"]`), one(own, "", `prefer=[{label: "zone=a"}]`), one(own, "", "", "on_invalid=keep")))
	if err != nil {
		panic(err)
	}
	a.programs = [][]string{words}
	for range 1 + rnd.IntN(6) {
		node, at, longer := one(own, ids...), time.Second+time.Duration(rnd.Int64N(int64(end))).Truncate(time.Millisecond), own.some(30*time.Second)
		switch n := rnd.IntN(12); {
		case n < 3:
			a.add(at, "move w")
		case n < 6:
			a.add(at, "move w %s", node)
		case n < 7:
			a.add(at, "restart w")
		case n < 8:
			a.add(at, "move w")
			a.add(at+own.some(300*time.Millisecond), "cancel w")
		case n < 9:
			a.add(at, "giveup w-0 %s", node)
		case n < 10:
			a.add(at, "kill %s hard", node)
			a.add(at+longer, "start %s", node)
		default:
			a.add(at, "behave w %s %s", node, one(own, "start=3s", "stop=2s", "start=1s stop=1s", "stop=25s", `fails="exit status 1"`))
			a.add(at+longer, "behave w %s", node)
		}
	}
}

func one[T any](a *author, of ...T) T { return of[a.IntN(len(of))] }

// add has something happen; words are as in a file.
func (a *author) add(at time.Duration, format string, args ...any) {
	words, err := split(fmt.Sprintf(format, args...))
	if err != nil {
		panic(err)
	}
	a.steps = append(a.steps, happening{at, words[0], words[1:]})
}

func (a *author) newApp(at time.Duration, name string) {
	d := &draft{mode: one(a, "singleton", "singleton", "singleton", "replicas", "replicas", "spread"), rest: "migration.step_timeout=10s process.stop_timeout=5s"}
	a.apps[name] = d
	switch d.mode {
	case "replicas":
		d.size = fmt.Sprintf("replicas=%d", 1+a.IntN(3))
		d.rest += fmt.Sprintf(" migration.max_parallel=%d", 1+a.IntN(2))
		if wait := a.IntN(3); wait > 0 {
			d.rest += fmt.Sprintf(" migration.min_healthy_time=%ds", wait)
		}
		d.rest += one(a, "", "", " max_unavailable=1", " migration.min_healthy=1")
	case "spread":
		d.rest += one(a, "", " max_unavailable=1")
	case "singleton":
		if a.IntN(4) == 0 {
			d.rest += " on_isolation=continue"
		}
		if a.IntN(2) == 0 {
			d.rest += " sqlite=$GC_DATA_DIR/app.db"
			a.stand(d)
		}
	}
	d.rest += one(a, "", "", " on_invalid=keep")
	a.rules(name)
	a.command(d)
	a.apply(at, name)
}

func (a *author) rules(name string) {
	rules := []string{one(a, "", "", `require=["tier=x"]`, `require=["tier=y"]`, `require=["zone in (a, b)"]`, `require=["tier!=y"]`),
		one(a, "", `prefer=[{label: "zone=a"}]`, `prefer=[{node: n1, weight: -50}]`), one(a, "", "", "resources.memory=6Gi")}
	if len(a.names) > 1 && a.IntN(4) == 0 && a.names[0] != name {
		rules = append(rules, "away_from_app=["+a.names[0]+"]")
	}
	a.apps[name].rules = strings.Join(slices.DeleteFunc(rules, func(s string) bool { return s == "" }), " ")
}

// stand gives an app with a database as many standbys as it pleases.
func (a *author) stand(d *draft) { d.standbys = fmt.Sprintf("standbys=%d", (a.data.IntN(5)+1)/2) }

func (a *author) command(d *draft) {
	d.version++
	d.command = fmt.Sprintf("process.command=[%s, v%d]", one(a, "/bin/app", "/bin/app", "/bin/app", "/bin/app", Broken), d.version)
}

func (a *author) apply(at time.Duration, name string) {
	a.add(at, "apply %s %s", name, a.apps[name].words())
}

// some returns a time that is short mostly and long sometimes.
func (a *author) some(mean time.Duration) time.Duration {
	return time.Duration(a.ExpFloat64() * float64(mean)).Truncate(time.Millisecond)
}

// something makes one thing happen, and where it has to end some time, its end.
func (a *author) something(at time.Duration) {
	switch n := a.IntN(100); {
	case n < 60:
		a.asked(at, a.IntN(71))
	default:
		a.fault(at, a.IntN(50))
	}
}

// asked is something that people do.
func (a *author) asked(at time.Duration, n int) {
	node, app := one(a, a.ids...), one(a, a.names...)
	longer, shorter := a.some(30*time.Second), a.some(5*time.Second)
	switch {
	case n < 14:
		if a.IntN(2) == 0 {
			a.add(at, "label %s zone=%s", node, one(a, "a", "b", "c"))
		} else {
			a.add(at, "label %s tier=%s", node, one(a, "x", "y"))
		}
	case n < 18:
		a.add(at, "cordon %s", node)
		a.add(at+longer, "uncordon %s", node)
	case n < 26:
		a.add(at, "drain %s%s", node, one(a, "", "", " timeout=5s", " timeout=30s", " timeout=5s force=true", " timeout=30s force=true")+[]string{"", "", " delete=true"}[a.data.IntN(3)])
		if a.IntN(3) == 0 {
			a.add(at+shorter, "undrain %s", node)
		}
		a.add(at+longer, "undrain %s", node)
		a.add(at+longer, "uncordon %s", node)
	case n < 29:
		a.add(at, "evacuate %s%s", one(a, "zone=a", "zone=c", "tier=y"), one(a, "", " timeout=10s", " timeout=30s"))
	case n < 37:
		a.add(at, "move %s", app)
	case n < 42:
		a.add(at, "move %s %s", app, node)
	case n < 46:
		a.add(at, "%s %s", one(a, "restart", "restart", "again"), app)
	case n < 51:
		a.command(a.apps[app])
		a.apply(at, app)
	case n < 57:
		if a.rules(app); a.apps[app].mode == "replicas" {
			a.apps[app].size = fmt.Sprintf("replicas=%d", a.IntN(5))
		}
		if d := a.apps[app]; d.standbys != "" && a.data.IntN(2) == 0 {
			a.stand(d)
		}
		a.apply(at, app)
	case n < 60:
		a.add(at, "remove %s", app)
		a.apply(at+shorter, app) // too early perhaps: it is refused while something of it is left
		a.newApp(at+longer, app)
	case n < 63:
		a.add(at, "rebalance")
	case n < 66:
		a.add(at, "cancel %s", app)
	case n < 69:
		p := one(a, "auto_rebalance.enabled=true", "auto_rebalance.enabled=false",
			"auto_rebalance.enabled=true auto_rebalance.threshold=0.2", "auto_rebalance.enabled=true auto_rebalance.interval=5s auto_rebalance.threshold=0.1",
			"auto_rebalance.enabled=true auto_rebalance.interval=10s auto_rebalance.cooldown_period=20s auto_rebalance.max_concurrent=1", "migration.max_concurrent=1", "migration.max_concurrent=8",
			"migration.require_approval=true", "migration.require_approval=true migration.approval_expiry=1m", "migration.cooldown_period=15s",
			"migration.rate_limit={count: 2, window: 20s}")
		if a.add(at, "policy %s", p); strings.Contains(p, "approval") {
			for range 3 {
				a.add(at+a.some(10*time.Second), "%s %s", one(a, "approve", "approve", "approve", "deny"), one(a, a.names...))
			}
		}
		if strings.HasPrefix(p, "migration.") {
			a.add(at+longer, "policy")
		}
	default:
		a.add(at, "freeze")
		a.add(at+longer, "unfreeze")
	}
}

// fault is something that happens to machines, processes, programs and the network.
func (a *author) fault(at time.Duration, n int) {
	node, app, service := one(a, a.ids...), one(a, a.names...), one(a, a.services...)
	longer, shorter := a.some(30*time.Second), a.some(5*time.Second)
	hard := one(a, "", " hard")
	switch {
	case n < 5:
		a.add(at, "kill %s%s", node, hard)
		a.add(at+one(a, shorter, shorter, longer), "start %s", node)
	case n < 10:
		a.add(at, "crash %s", node)
		if a.IntN(3) == 0 {
			a.add(at+longer/2, "lost %s", node)
		}
		a.add(at+one(a, shorter, longer), "start %s", node)
	case n < 16:
		a.add(at, "%s %s", one(a, "cut", "deafen", "mute", "pause"), node)
		a.add(at+one(a, shorter, longer), "heal %s", node)
	case n < 19:
		a.add(at, "%s %s", one(a, "cut", "deafen", "mute", "pause"), service)
		a.add(at+one(a, shorter, shorter, longer), "heal %s", service)
	case n < 23:
		a.add(at, "kill %s%s", service, hard)
		a.add(at+shorter, "start %s", service)
	case n < 30:
		who := one(a, node, node, service)
		a.add(at, "noise %s lose=%d repeat=%d late=%d delay=%s seed=%d", who, one(a, 0, 3, 10), one(a, 0, 3, 10), one(a, 0, 5, 20), one(a, "100ms", "2s", "20s"), a.IntN(1000))
		a.add(at+longer, "heal %s", who)
	case n < 38:
		a.add(at, "behave %s %s %s", app, node, one(a, "start=3s", "stop=2s", "start=1s stop=1s", "start=20s", "stop=25s", `fails="exit status 1"`, `start=2s fails="exit status 2"`))
		a.add(at+longer, "behave %s %s", app, node)
	case n < 40:
		a.add(at, "nats stop")
		a.add(at+one(a, shorter, shorter, longer), "nats start")
	case n < 42:
		a.add(at, "forget %s", node)
	case n < 44:
		a.add(at, "giveup %s-%d %s", app, a.IntN(2), node)
	case n < 47:
		who := one(a, node, service)
		a.add(at, "clock %s %s", who, one(a, "1h", "-1h", "3s", "-90s"))
		a.add(at+longer, "clock %s 0s", who)
	default:
		if id := fmt.Sprint("n", len(a.ids)+1); len(a.ids) < 7 {
			a.ids = append(a.ids, id)
			a.add(at, "join %s zone=%s tier=%s", id, one(a, "a", "b"), one(a, "x", "y"))
		}
	}
}
