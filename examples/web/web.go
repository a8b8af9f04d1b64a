// Package web is a sample member of a pool: any number of them serve side by side, and each says who it is.
package web

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Spec is the app as `go-cluster app apply -f` takes it.
//
//go:embed app.yaml
var Spec []byte

// Run answers HTTP until ctx ends; requests under way then get up to four seconds to end, less than the stop_timeout of the spec.
func Run(ctx context.Context, getenv func(string) string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(getenv("GC_ADDRESS"), getenv("GC_PORT_HTTP")))
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	fmt.Printf("web: on http://%s\n", listener.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "hello from %s on %s\n", getenv("GC_INSTANCE"), getenv("GC_NODE"))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
		defer cancel()
		stopped <- server.Shutdown(last)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("web: some requests were cut off: %w", err)
	}
	fmt.Println("web: stopped")
	return nil
}
