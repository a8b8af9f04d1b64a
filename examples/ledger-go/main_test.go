//go:build linux

package main

import (
	"context"
	"errors"
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

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/examples/ledger"
	"github.com/go-cluster/go-cluster/sim"
)

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// ask returns the status of an answer, 0 for none, and what is in it.
func ask[T any](t *testing.T, method, url string) (status int, v T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, v
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode == http.StatusOK {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, v
}

// Two programs, one ledger: whatever it keeps its books in, they are where it is, and nowhere else.
func TestTheBooksMove(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster in real time")
	}
	for _, keep := range []string{inSQLite, inLog} {
		t.Run(keep, func(t *testing.T) { t.Parallel(); move(t, keep) })
	}
}

func move(t *testing.T, keep string) {
	dir := t.TempDir()
	plane, err := sim.StartPlane("prod", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Stop()
	ctx, stop := context.WithCancel(t.Context())
	nodes := []string{"node-1", "node-2"}
	base, ended := map[string]string{}, make(chan error, len(nodes))
	for _, n := range nodes {
		at := free(t)
		base[n] = "http://" + at
		go func() {
			ended <- run(ctx, []string{"-cluster", "prod", "-node", n, "-nats", plane.URL, "-data-dir", filepath.Join(dir, n), "-http", at, "-keep", keep,
				"-journal", filepath.Join(dir, "journal")})
		}()
	}
	from, first := "", ledger.Entry{}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for end := time.After(time.Minute); from == ""; {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-end:
			t.Fatal("nobody keeps the books")
		case <-look.C:
		}
		for n, url := range base {
			if status, e := ask[ledger.Entry](t, http.MethodPost, url+"/entries?writer=a&n=1"); status == http.StatusOK {
				from, first = n, e
			}
		}
	}
	to := nodes[0]
	if from == to {
		to = nodes[1]
	}
	client := cluster.NewPlatform("prod", "", plane.URL)
	defer client.Close()
	for moved := errors.New("not yet"); moved != nil; <-look.C { // the other one may be on its way
		moved = client.MoveApp(t.Context(), cluster.MoveRequest{App: "ledger", FromNode: from, ToNode: to})
		if moved != nil && !errors.Is(moved, cluster.ErrRefused) {
			t.Fatal(moved)
		}
	}
	if status, _ := ask[ledger.Entry](t, http.MethodPost, base[from]+"/entries?writer=a&n=2"); status != http.StatusServiceUnavailable {
		t.Errorf("%s answers %d after it left", from, status)
	}
	if status, again := ask[ledger.Entry](t, http.MethodPost, base[to]+"/entries?writer=a&n=1"); status != http.StatusOK || again != first {
		t.Errorf("%d %+v, it was %+v", status, again, first)
	}
	status, second := ask[ledger.Entry](t, http.MethodPost, base[to]+"/entries?writer=a&n=2")
	want := ledger.Entry{ID: second.ID, Writer: "a", N: 2, Node: to, Epoch: first.Epoch + 1}
	if status != http.StatusOK || second != want || second.ID <= first.ID { // SQLite leaves gaps
		t.Errorf("%d %+v, want %+v", status, second, want)
	}
	if _, all := ask[[]ledger.Entry](t, http.MethodGet, base[to]+"/entries"); len(all) != 2 || all[0] != first || all[1] != second {
		t.Errorf("%+v", all)
	}
	if _, verdict := ask[string](t, http.MethodGet, base[to]+"/check"); verdict != "ok" {
		t.Error(verdict)
	}
	stop()
	for range nodes {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	lines, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil || strings.Count(string(lines), "\n") != 2 || !strings.Contains(string(lines), fmt.Sprintf(`"epoch":%d`, second.Epoch)) {
		t.Errorf("journal: %s %v", lines, err)
	}
}

// A new node begins with a snapshot of the entries.
func TestEntriesSurviveASnapshot(t *testing.T) {
	var s, restored state
	for i, record := range []string{
		`{"writer":"a","n":1,"node":"n1","epoch":1}`, `{"writer":"b","n":1,"node":"n1","epoch":1}`, `{"writer":"a","n":1,"node":"n2","epoch":2}`,
	} {
		if err := s.Apply(uint64(i+1), []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	var kept strings.Builder
	if err := s.Snapshot(&kept); err != nil {
		t.Fatal(err)
	}
	if err := restored.Restore(strings.NewReader(kept.String())); err != nil {
		t.Fatal(err)
	}
	if e, there := restored.find("a", 1); !there || e != (ledger.Entry{ID: 1, Writer: "a", N: 1, Node: "n1", Epoch: 1}) || len(restored.entries) != 2 {
		t.Errorf("%+v", restored.entries)
	}
	if err := restored.Apply(4, []byte(`{"writer":"b","n":2}`)); err != nil || restored.entries[2].ID != 3 {
		t.Errorf("%+v %v", restored.entries, err)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-node", "Not A Name"}, {"-node", "n", "-keep", "paper"}, {"-node", "n", "-journal", t.TempDir()}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
