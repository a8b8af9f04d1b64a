package sim

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/auditor"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/services/migrator"
	"github.com/go-cluster/go-cluster/services/planner"
	"github.com/go-cluster/go-cluster/services/rebalancer"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// Plane is NATS and every service of a cluster in real time, for programs that connect to it.
type Plane struct {
	URL  string
	Base *services.Base
	stop []func()
}

// StartPlane starts one in a directory of its own.
func StartPlane(cluster, dir string) (p *Plane, err error) {
	p = &Plane{}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	srv, err := embedded.Start(embedded.Options{StoreDir: filepath.Join(dir, "nats"), Port: -1})
	if err != nil {
		return p, err
	}
	p.stop, p.URL = append(p.stop, srv.Shutdown), srv.ClientURL()
	dial := func() (*nats.Conn, error) {
		return transport.Connect(transport.ConnectOptions{Name: "plane", Servers: p.URL})
	}
	nc, err := dial()
	if err != nil {
		return p, err
	}
	p.stop = append(p.stop, nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		return p, err
	}
	subjects, err := events.NewSubjects(cluster)
	if err != nil {
		return p, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := transport.Bootstrap(ctx, js, subjects, transport.BootstrapOptions{}); err != nil {
		cancel()
		return p, err
	}
	p.Base, err = services.Open(ctx, services.Config{Cluster: cluster, Replica: "r-" + strings.ToLower(rand.Text()[:8]), Version: "test", NC: nc, Dial: dial, Log: zap.NewNop(),
		Boot: transport.Boottime, Now: time.Now})
	if err != nil {
		cancel()
		return p, err
	}
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{p.Base.Run, labeler.New(p.Base).Run, planner.New(p.Base).Run, migrator.New(p.Base).Run,
		rebalancer.New(p.Base).Run, auditor.New(p.Base).Run} {
		running.Go(func() { _ = run(ctx) }) // a service that ends shows in what is asked of it
	}
	p.stop = append(p.stop, func() { cancel(); running.Wait() })
	return p, nil
}

// Stop ends it.
func (p *Plane) Stop() {
	for i := len(p.stop) - 1; i >= 0; i-- {
		p.stop[i]()
	}
	p.stop = nil
}
