package transport

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
)

// What is more than one message holds arrives all the same; who cannot unpack it is told so, and not kept waiting.
func TestLongAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var apps []api.AppView
		for i := range 20_000 {
			apps = append(apps, api.AppView{Name: fmt.Sprint("app-", i), Mode: "singleton", State: api.AppRunning, Desired: 1, Running: 1, Nodes: []string{fmt.Sprint("node-", i%1000)}})
		}
		serve(t, s, map[api.Endpoint]Handler{api.AppList: func(context.Context, *Request) (any, error) { return apps, nil }}, ServeOptions{})
		got, err := Call[api.ListRequest, []api.AppView](t.Context(), s.nc, s.Subjects, api.AppList, api.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(apps, got); d != "" {
			t.Error(d)
		}
		plain, err := s.nc.RequestWithContext(t.Context(), s.API("app", "list"), []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		refused(t, refusal(plain), api.CodeInternal, "ask for less")
	})
}

func TestAnswersThatCannotBeUnpacked(t *testing.T) {
	for encoding, data := range map[string]string{"br": "{}", gzipEncoding: "{}"} {
		if text, err := unpack(&nats.Msg{Header: nats.Header{encodingHeader: {encoding}}, Data: []byte(data)}); err == nil {
			t.Errorf("%s: %q", encoding, text)
		}
	}
}
