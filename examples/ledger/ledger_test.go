//go:build linux

package ledger

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
)

// life runs the ledger as a node would and returns its base URL. end stops it as SIGTERM does.
func life(t *testing.T, dir string, epoch int) (base string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	env := map[string]string{"GC_NODE": "n1", "GC_EPOCH": fmt.Sprint(epoch), "GC_DATA_DIR": dir, "GC_ADDRESS": "127.0.0.1", "GC_PORT_HTTP": port,
		"JOURNAL": filepath.Join(dir, "journal")}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, func(k string) string { return env[k] }) }()
	base = "http://127.0.0.1:" + port
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		if r, err := http.Get(base + "/health"); err == nil {
			_ = r.Body.Close()
			break
		}
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-look.C:
		}
	}
	return base, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func ask(t *testing.T, method, url string, v any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", url, r.Status, b, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// What was acknowledged is there in the next life; a number that is asked for again is stored once and answered alike.
func TestEntriesOutliveTheProgram(t *testing.T) {
	dir := t.TempDir()
	base, end := life(t, dir, 1)
	var first, again Entry
	ask(t, http.MethodPost, base+"/entries?writer=a&n=1", &first)
	end()
	base, end = life(t, dir, 2)
	ask(t, http.MethodPost, base+"/entries?writer=a&n=1", &again)
	if first != again || first != (Entry{ID: 1, Writer: "a", N: 1, Node: "n1", Epoch: 1}) {
		t.Errorf("%+v, and again %+v", first, again)
	}
	var second Entry
	ask(t, http.MethodPost, base+"/entries?writer=a&n=2", &second)
	var all []Entry
	ask(t, http.MethodGet, base+"/entries", &all)
	if len(all) != 2 || all[1] != second || second.Epoch != 2 {
		t.Errorf("%+v", all)
	}
	var verdict string
	if ask(t, http.MethodGet, base+"/check", &verdict); verdict != "ok" {
		t.Error(verdict)
	}
	end()
	journal, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil || strings.Count(string(journal), "\n") != 2 || !strings.Contains(string(journal), `"epoch":2`) {
		t.Errorf("journal: %s %v", journal, err)
	}
}
