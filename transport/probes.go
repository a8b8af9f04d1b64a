package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry of metrics with those of the process and the Go runtime in it. The library's global one is not
// used: several services of one process, and each test, have their own.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Probes answers what orchestrators and Prometheus ask: /healthz (the process lives), /readyz (it can do its work; else 503
// and why not, and either way what an operator should know) and /metrics.
type Probes struct{ mux *http.ServeMux }

// NewProbes returns probes. ready returns why the process cannot do its work, or nil; detail, which may be nil, returns sentences
// that /readyz shows whether it can or not. Both are called at each question and must not block.
func NewProbes(ready func() error, detail func() []string, g prometheus.Gatherer) *Probes {
	p := &Probes{mux: http.NewServeMux()}
	p.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	p.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, lines := http.StatusOK, []string{"ready"}
		if err := ready(); err != nil {
			status, lines[0] = http.StatusServiceUnavailable, "not ready: "+err.Error()
		}
		if detail != nil {
			lines = append(lines, detail()...)
		}
		answer(w, status, strings.Join(lines, "\n"))
	})
	p.mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	return p
}

// ServeHTTP implements http.Handler.
func (p *Probes) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// ServeProbes serves probes on addr until ctx ends, and returns the address it listens on, which tells the port where addr has 0.
// They have no access control: bind them to a loopback or management address.
func ServeProbes(ctx context.Context, addr string, ready func() error, detail func() []string, g prometheus.Gatherer) (actual string, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("serve probes: %w", err)
	}
	srv := &http.Server{
		Handler: NewProbes(ready, detail, g), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
	}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			_ = l.Close() // nothing answers here any more: let it show
		}
	}()
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return l.Addr().String(), nil
}
