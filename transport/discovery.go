package transport

import (
	"crypto/rand"
	"regexp"
	"time"

	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/go-cluster/go-cluster/events"
)

// The endpoints speak the micro protocol ("nats micro ls", "info", "stats") with micro's own wire types, but are not made by
// micro.AddService (nats.go v1.55): it reads a request's outcome as soon as its handler returns, which is a data race when the
// answer is given on another goroutine, and its Stop neither waits for what has arrived nor lets anyone wait.

type identity struct {
	name, service, queue string
	micro                micro.ServiceIdentity
	started              time.Time
}

var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

func newIdentity(s events.Subjects, service, version, replica string) identity {
	name := "gc-" + s.Cluster() + "-" + service
	shown := version
	if !semver.MatchString(shown) {
		shown = "0.0.0" // micro's tools insist; the metadata has the truth
	}
	return identity{name: name, service: service, queue: "gc-" + service, started: time.Now().UTC(), micro: micro.ServiceIdentity{
		Name: name, ID: rand.Text(), Version: shown,
		Metadata: map[string]string{"cluster": s.Cluster(), "service": service, "replica": replica, "version": version},
	}}
}

func (s *Service) announce() error {
	answers := map[micro.Verb]func() any{
		micro.PingVerb:  func() any { return micro.Ping{ServiceIdentity: s.info.micro, Type: micro.PingResponseType} },
		micro.InfoVerb:  func() any { return s.describe() },
		micro.StatsVerb: func() any { return s.measure() },
	}
	for verb, answer := range answers {
		for _, who := range [][2]string{{"", ""}, {s.info.name, ""}, {s.info.name, s.info.micro.ID}} {
			subject, err := micro.ControlSubject(verb, who[0], who[1])
			if err != nil {
				return err
			}
			// No queue group: every replica speaks for itself.
			sub, err := s.subscribe(subject, "", func(m *nats.Msg) {
				if b, err := jsonv1.Marshal(answer()); err == nil {
					_ = m.Respond(b)
				}
			})
			if err != nil {
				return err
			}
			s.verbs = append(s.verbs, sub)
		}
	}
	return nil
}

func (s *Service) describe() micro.Info {
	info := micro.Info{ServiceIdentity: s.info.micro, Type: micro.InfoResponseType, Description: "go-cluster " + s.info.service, Endpoints: []micro.EndpointInfo{}}
	for _, e := range s.byName {
		kind := "question"
		if e.Command {
			kind = "command"
		}
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{Name: e.name, Subject: e.subject, QueueGroup: s.info.queue, Metadata: map[string]string{"kind": kind}})
	}
	return info
}

func (s *Service) measure() micro.Stats {
	stats := micro.Stats{ServiceIdentity: s.info.micro, Type: micro.StatsResponseType, Started: s.info.started, Endpoints: []*micro.EndpointStats{}}
	for _, e := range s.byName {
		e.mu.Lock()
		copied := e.stats
		e.mu.Unlock()
		stats.Endpoints = append(stats.Endpoints, &copied)
	}
	return stats
}
