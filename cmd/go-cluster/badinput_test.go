//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// strangers is a connection that sends what it likes to a cluster.
type strangers struct {
	t        *testing.T
	nc       *nats.Conn
	js       jetstream.JetStream
	subjects events.Subjects

	sent    atomic.Int64
	mu      sync.Mutex
	slowest time.Duration
}

func newStrangers(t *testing.T, cluster devAt) *strangers {
	t.Helper()
	nc, err := transport.Connect(transport.ConnectOptions{Servers: cluster.nats, Name: "strangers"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	s := &strangers{t: t, nc: nc}
	if s.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	if s.subjects, err = events.NewSubjects(devCluster); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends one request and returns the refusal, nil for an answer. No answer at all is a fault.
func (s *strangers) ask(endpoint, body string) *api.Error {
	began := time.Now()
	m, err := s.nc.Request(strings.Join([]string{"gc", devCluster, "api", endpoint}, "."), []byte(body), requestLimit)
	took := time.Since(began)
	s.sent.Add(1)
	s.mu.Lock()
	s.slowest = max(s.slowest, took)
	s.mu.Unlock()
	if *malformed > 0 && took > prompt {
		s.t.Errorf("%s: %.200q: answered after %s", endpoint, body, took)
	}
	if err != nil {
		s.t.Errorf("%s: %.200q: no answer: %v", endpoint, body, err)
		return nil
	}
	var reply struct {
		Error *api.Error `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil && m.Header.Get("Nats-Service-Error-Code") != "" {
		s.t.Errorf("%s: %.200q: answered with %.200q: %v", endpoint, body, m.Data, err)
	}
	return reply.Error
}

// endpoints are the subjects that the services say they answer, and that of one node's agent.
func (s *strangers) endpoints() []string {
	s.t.Helper()
	inbox := s.nc.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.nc.PublishRequest("$SRV.INFO", inbox, nil); err != nil {
		s.t.Fatal(err)
	}
	found := map[string]bool{}
	prefix := "gc." + devCluster + ".api."
	for wait := 5 * time.Second; ; wait = time.Second {
		m, err := sub.NextMsg(wait)
		if err != nil {
			break
		}
		var info struct {
			Endpoints []struct {
				Subject string `json:"subject"`
			} `json:"endpoints"`
		}
		if err := json.Unmarshal(m.Data, &info); err != nil {
			s.t.Fatal(err)
		}
		for _, e := range info.Endpoints {
			if name, ours := strings.CutPrefix(e.Subject, prefix); ours && (!strings.HasPrefix(name, "logs.") || name == "logs.node-1") {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// lastSeq is the end of the event log.
func (s *strangers) lastSeq() uint64 {
	s.t.Helper()
	stream, err := s.js.Stream(context.Background(), s.subjects.EventsStream())
	if err != nil {
		s.t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

// onlyRefusals fails when anything but the record of a refusal was stored after a sequence.
func (s *strangers) onlyRefusals(cluster devAt, after uint64) {
	s.t.Helper()
	for line := range strings.Lines(cluster.do(exitDone, "events", "--since-seq", fmt.Sprint(after+1)).out) {
		if e := decode[eventLine](s.t, line); e.kind() != "placement.request.refused" {
			s.t.Errorf("stored: %.500s", line)
		}
	}
}

// enough is how many requests CI's sample has at most, and prompt within which time each is answered where malformed are counted: a
// busy machine is not held to it.
const (
	enough = 10_000
	prompt = time.Second
)

var malformed = flag.Int("malformed", 0, "TestMalformedInput: send that many damaged requests to each endpoint, each to be answered within 1 s; 0: a sample, for 5 s")

// TestMalformedInput sends what nobody should: every request must be refused with a reason that names the field, nothing may be
// stored for it, and the cluster must go on as if nothing had come.
func TestMalformedInput(t *testing.T) {
	dev, cluster := startDev(t, "--nodes", "2", "--no-demo")
	cluster.apply(exitDone, "name: one\nmode: singleton\nprocess: {command: [sleep, '1000']}\n")
	s := newStrangers(t, cluster)
	endpoints := s.endpoints()
	if want := slices.Sorted(maps.Keys(requestTemplates)); !slices.Equal(endpoints, want) {
		t.Fatalf("endpoints %v\ntemplates %v", endpoints, want)
	}
	before := s.lastSeq()
	sound := map[string]string{}
	for name, template := range requestTemplates {
		sound[name] = strings.Replace(template, "META", fmt.Sprintf(`"id":"c-%s","expires":%q,"actor":"stranger"`, name, time.Now().Add(time.Hour).Format(time.RFC3339)), 1)
	}

	t.Run("types", func(t *testing.T) { s.wrongTypes(t, endpoints, sound) })
	if s.lastSeq() != before {
		t.Errorf("%d events are stored for requests that are malformed", s.lastSeq()-before)
	}
	t.Run("garbage", func(t *testing.T) { s.garbage(t, endpoints, sound) })
	t.Run("content", func(t *testing.T) { s.wrongContent(t) })
	t.Run("reports", func(t *testing.T) { s.reports(t) })
	t.Run("leases", func(t *testing.T) { s.leases(t, cluster) })
	s.onlyRefusals(cluster, before)
	t.Logf("%d requests, the slowest answered after %s", s.sent.Load(), s.slowest)

	cluster.do(exitDone, "node", "label", "node-1", "zone=a", "--wait")
	cluster.do(exitDone, "app", "move", "one")
	cluster.apply(exitDone, "name: two\nmode: replicas\nreplicas: 2\nprocess: {command: [sleep, '1000']}\n")
	for _, n := range ask[[]api.NodeView](cluster, "node", "list") {
		if n.Status != api.NodeReady {
			t.Errorf("node %+v", n)
		}
	}
	dev.stop(t, exitDone)
	if fault := loggedFault.FindString(dev.errors.String()); fault != "" {
		t.Errorf("dev logged: %s", fault)
	}
}

// readsNothing are questions that have one answer, whatever else the request says.
var readsNothing = map[string]bool{"app.list": true, "policy.show": true}

func (s *strangers) wrongTypes(t *testing.T, endpoints []string, sound map[string]string) {
	for _, e := range endpoints {
		if readsNothing[e] {
			continue
		}
		for _, b := range wrongTypes(sound[e]) {
			refused := s.ask(e, b.body)
			switch {
			case refused == nil:
				t.Errorf("%s: answered, though %s is wrong in %.300s", e, b.field, b.body)
			case refused.Code != api.CodeInvalid:
				t.Errorf("%s: %s: %s, though %s is wrong", e, refused.Code, refused.Detail, b.field)
			case refused.Field == "" || !strings.HasPrefix(b.field+".", refused.Field+".") && !strings.HasPrefix(refused.Field+".", b.field+"."):
				t.Errorf("%s: the refusal names %q, want %s: %s", e, refused.Field, b.field, refused.Detail)
			}
		}
	}
}

// garbage is sent by several at once, at most for some seconds.
func (s *strangers) garbage(t *testing.T, endpoints []string, sound map[string]string) {
	for _, e := range endpoints {
		for _, body := range garbage {
			if refused := s.ask(e, body); refused == nil || refused.Code != api.CodeInvalid {
				t.Errorf("%s: %.100q: %v", e, body, refused)
			}
		}
	}
	const seed = 1
	maps.Copy(sound, map[string]string{"moves.freeze": sound["node.drain"], "moves.unfreeze": sound["node.drain"]}) // an id that is damaged is a sound one
	const at = 8                                                                                                    // once
	end := time.Now().Add(5 * time.Second)
	var g errgroup.Group
	for w := range at {
		r := rand.New(rand.NewPCG(seed, uint64(w)))
		g.Go(func() error {
			goes := func(n int) bool { return s.sent.Load() < enough && time.Now().Before(end) }
			if *malformed > 0 {
				goes = func(n int) bool { return n < *malformed*len(endpoints)/at }
			}
			for n := 0; goes(n); n++ {
				e := endpoints[(n*at+w)%len(endpoints)]
				body := damaged(r, sound[e])
				if waits(body) {
					continue
				}
				if refused := s.ask(e, body); refused != nil && (refused.Code == api.CodeInternal || refused.Code == api.CodeTimeout || refused.Detail == "") {
					t.Errorf("seed %d, %s: %q: %s: %s", seed, e, body, refused.Code, refused.Detail)
				}
			}
			return nil
		})
	}
	_ = g.Wait()
}

// waits says whether damage has made a long poll of a request, which is answered late by right: 1ms becomes 1m1s.
func waits(body string) bool {
	var req struct {
		Wait spec.Duration `json:"wait"`
	}
	return json.Unmarshal([]byte(body), &req) == nil && req.Wait.D() > prompt/2
}

// wrongContent has the right JSON types and means nothing. The detail names the field, or what is in it.
func (s *strangers) wrongContent(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tc := range []struct{ endpoint, fields, says string }{
		{"node.label", `"node":"node-1","set":{"a b":"c"}`, "a b"},
		{"node.label", `"node":"node-1","set":{"":"c"}`, `label`},
		{"node.label", `"node":"node-1","set":{"a":"c@"}`, "c@"},
		{"node.label", `"node":"node-1","set":{"a":"` + long + `"}`, `label a`},
		{"node.label", `"node":"node-1","set":{"go-cluster.io/host":"x"}`, "go-cluster.io/host"},
		{"node.label", `"node":"node-1","remove":["a/b/c"]`, "a/b/c"},
		{"node.label", `"node":"node-1","set":{"a":"b"},"remove":["a"]`, "a"},
		{"node.label", `"node":"node-1"`, "label"},
		{"node.label", `"node":"Node.1","set":{"a":"b"}`, "Node.1"},
		{"node.label", `"node":"","set":{"a":"b"}`, "node"},
		{"node.label", `"node":"*","set":{"a":"b"}`, "*"},
		{"node.label", `"node":"node-1.>","set":{"a":"b"}`, "node-1.>"},
		{"node.cordon", `"node":">"`, ">"},
		{"node.declare", `"node":"node-1","inc":"x.y.1","machine":"x","ttl":"5s","facts":{}`, "node-1"},
		{"node.declare", `"node":"a.b","inc":"x.y.1","machine":"x","ttl":"5s","facts":{}`, "a.b"},
		{"node.drain", `"nodes":[]`, "node"},
		{"node.drain", `"nodes":["node-9"]`, "node-9"},
		{"node.drain", `"nodes":["node-1"],"timeout":"-1s"`, "timeout"},
		{"node.drain", `"nodes":["node-1"],"timeout":"soon"`, "timeout"},
		{"node.drain", `"nodes":["node-1"],"timeout":"999999999h"`, "timeout"},
		{"app.evacuate", `"selector":""`, "selector"},
		{"app.evacuate", `"selector":"zone=("`, "position 6"},
		{"app.evacuate", `"selector":"zone in (a,"`, "selector"},
		{"app.evacuate", `"selector":"` + long + "=" + long + `"`, "selector"},
		{"app.evacuate", `"selector":"a=b","timeout":"-5m"`, "timeout"},
		{"app.rebalance", `"app":"one","all":true`, "app"},
		{"app.rebalance", `"dry_run":true`, "app"},
		{"app.move", `"app":"one","to":"a.b"`, "a.b"},
		{"app.move", `"app":"..","to":"node-1"`, ".."},
		{"policy.set", `"policy":{"migration":{"load_threshold":8}}`, "load_threshold"},
		{"policy.set", `"policy":{"migration":{"max_concurrent":-1}}`, "max_concurrent"},
		{"policy.set", `"policy":{"migration":{"maintenance_windows":[{"start":"26:00","end":"06:00"}]}}`, "maintenance_windows"},
		{"policy.set", `"policy":{"migration":{"rate_limit":{"count":-1,"window":"1h"}}}`, "rate_limit"},
		{"policy.set", `"policy":{"auto_rebalance":{"threshold":-3}}`, "threshold"},
		{"migration.cancel", `"migration":"../../etc/passwd"`, "passwd"},
		{"order.status", `"order":""`, "order"},
		{"plan.preview", ``, "preview"},
		{"plan.preview", `"label":{"node":"node-1","set":{"a":"@"}}`, "@"},
		{"plan.preview", `"evacuate":{"selector":"("}`, "selector"},
		{"plan.preview", `"apply":{"spec":{"name":"X"}}`, "name"},
		{"event.list", `"wait":"-1s"`, "wait"},
		{"audit.list", `"wait":"never"`, "wait"},
		{"logs.node-1", `"instance":"ghost-0","tail":1,"inbox":"gc.dev.api.node.cordon"`, "inbox"},
		{"logs.node-1", `"instance":"../../../etc","tail":1,"inbox":"_INBOX.x"`, "etc"},
	} {
		s.refused(t, tc.endpoint, tc.fields, tc.says)
	}
	process := `,"process":{"command":["sleep","1"]}`
	for fields, says := range map[string]string{
		`"name":"","mode":"singleton"` + process:                                                                         "name",
		`"name":"A.b","mode":"singleton"` + process:                                                                      "name",
		`"name":"` + long + `","mode":"singleton"` + process:                                                             "name",
		`"name":"x","mode":"triplet"` + process:                                                                          "mode",
		`"name":"x"` + process:                                                                                           "mode",
		`"name":"x","mode":"singleton"`:                                                                                  "process",
		`"name":"x","mode":"singleton","process":{"command":[]}`:                                                         "command",
		`"name":"x","mode":"singleton","process":{"command":["a\u0000b"]}`:                                               "command",
		`"name":"x","mode":"singleton","process":{"command":["a","$GC_NOPE"]}`:                                           "GC_NOPE",
		`"name":"x","mode":"singleton","process":{"command":["a"],"env":{"A=B":"c"}}`:                                    "env",
		`"name":"x","mode":"singleton","process":{"command":["a"],"stop_signal":"BOO"}`:                                  "stop_signal",
		`"name":"x","mode":"singleton","process":{"command":["a"],"stop_timeout":"999999h"}`:                             "stop_timeout",
		`"name":"x","mode":"replicas","replicas":-1` + process:                                                           "replicas",
		`"name":"x","mode":"replicas","replicas":1000000` + process:                                                      "replicas",
		`"name":"x","mode":"singleton","replicas":2` + process:                                                           "replicas",
		`"name":"x","mode":"singleton","require":["a=("]` + process:                                                      "require",
		`"name":"x","mode":"singleton","prefer":[{"label":"a=b","weight":101}]` + process:                                "weight",
		`"name":"x","mode":"singleton","prefer":[{}]` + process:                                                          "prefer",
		`"name":"x","mode":"singleton","on_nodes":["A.b"]` + process:                                                     "on_nodes",
		`"name":"x","mode":"singleton","away_from_app":["x"]` + process:                                                  "away_from_app",
		`"name":"x","mode":"singleton","resources":{"cpu":"-1"}` + process:                                               "cpu",
		`"name":"x","mode":"singleton","resources":{"memory":"9999999Ti"}` + process:                                     "memory",
		`"name":"x","mode":"singleton","ports":{"http":70000}` + process:                                                 "ports",
		`"name":"x","mode":"singleton","ports":{"h t":1}` + process:                                                      "ports",
		`"name":"x","mode":"singleton","health":{}` + process:                                                            "health",
		`"name":"x","mode":"singleton","health":{"http":"ftp://x","interval":"1s"}` + process:                            "health",
		`"name":"x","mode":"singleton","health":{"tcp":"nowhere"}` + process:                                             "health",
		`"name":"x","mode":"singleton","health":{"tcp":"h:1","interval":"0s","timeout":"-1s"}` + process:                 "timeout",
		`"name":"x","mode":"singleton","migration":{"step_timeout":"1000h"}` + process:                                   "step_timeout",
		`"name":"x","mode":"singleton","restart":{"attempts":-1}` + process:                                              "attempts",
		`"name":"x","mode":"singleton","data":"somewhere"` + process:                                                     "data",
		`"name":"x","mode":"singleton","on_invalid":"cry"` + process:                                                     "on_invalid",
		`"name":"x","mode":"singleton","labels":{"a":"@"}` + process:                                                     "labels",
		`"name":"x","mode":"ring"` + process:                                                                             "partitions",
		`"name":"x","mode":"singleton","vip":{"address":"127.0.0.1/8","interface":"eth0"}` + process:                     "vip",
		`"name":"x","mode":"singleton","labels":{"a":"` + strings.Repeat(`b","a`, 3) + `":"c"}` + process:                "a",
		`"name":"x","mode":"singleton","process":{"command":["sleep","` + strings.Repeat("9", 70<<10) + `"]}`:            "bytes",
		`"name":"x","mode":"singleton","process":{"command":["a"],"secret_env":{"A":"relative"}}`:                        "secret_env",
		`"name":"x","mode":"singleton","process":{"command":["a"],"env_file":"../x"}`:                                    "env_file",
		`"name":"x","mode":"singleton","process":{"command":["a"],"env":{"A":"b","A":"c"}}`:                              "A",
		`"name":"x","mode":"singleton","process":{"command":["a"],"env":{"` + strings.Repeat("A", 70<<10) + `":"b"}}`:    "bytes",
		`"name":"x","mode":"singleton","require":["` + strings.Repeat("a,", 40<<10) + `a"]` + process:                    "require",
		`"name":"x","mode":"singleton","spread_over":[{"label":"zone","max_skew":0}]` + process:                          "spread_over",
		`"name":"x","mode":"singleton","hooks":{"before_breakfast":{"command":["a"]}}` + process:                         "hooks",
		`"name":"x","mode":"singleton","sqlite":"/etc/passwd"` + process:                                                 "sqlite",
		`"name":"x","mode":"singleton","process":{"command":["sleep","1"],"user":"` + strings.Repeat("u", 300) + `"}`:    "user",
		`"name":"x","mode":"singleton","process":{"command":["sleep","1"],"cwd":"` + strings.Repeat("../", 10) + `etc"}`: "cwd",
	} {
		s.refused(t, "app.apply", `"spec":{`+fields+`}`, says)
	}
}

var commandID atomic.Int64

func (s *strangers) refused(t *testing.T, endpoint, fields, says string) {
	t.Helper()
	meta := fmt.Sprintf(`"id":"w-%d","expires":%q,"actor":"stranger"`, commandID.Add(1), time.Now().Add(time.Hour).Format(time.RFC3339))
	body := "{" + strings.Trim(meta+","+fields, ",") + "}"
	refused := s.ask(endpoint, body)
	switch {
	case refused == nil:
		t.Errorf("%s: answered: %.300s", endpoint, fields)
	case refused.Code == api.CodeInternal || refused.Code == api.CodeTimeout || refused.Code == api.CodeUnavailable:
		t.Errorf("%s: %.300s: %s: %s", endpoint, fields, refused.Code, refused.Detail)
	case !strings.Contains(refused.Field+" "+refused.Detail, says):
		t.Errorf("%s: %.300s: the refusal does not say %q: %s: %s", endpoint, fields, says, refused.Field, refused.Detail)
	}
}
