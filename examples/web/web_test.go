package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/go-cluster/go-cluster/spec"
)

func TestSpecIsValid(t *testing.T) {
	apps, err := spec.DecodeApps(Spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range apps {
		if err := a.ValidateApplied(); err != nil {
			t.Error(err)
		}
		if faults := a.Unsupported(); len(faults) > 0 {
			t.Error(faults)
		}
	}
	if len(apps) != 1 || apps[0].Name != "web" || apps[0].Mode != spec.Replicas {
		t.Errorf("apps %+v", apps)
	}
}

func TestServesUntilToldToStop(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"GC_ADDRESS": "127.0.0.1", "GC_PORT_HTTP": port, "GC_INSTANCE": "web-1", "GC_NODE": "node-2"}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, func(k string) string { return env[k] }) }()
	var body string
	for body == "" {
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		if r, err := http.Get("http://" + address + "/"); err == nil {
			b, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
	}
	if want := "hello from web-1 on node-2\n"; body != want {
		t.Errorf("got %q, want %q", body, want)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("still listening")
	}
}
