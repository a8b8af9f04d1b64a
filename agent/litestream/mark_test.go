//go:build linux

package litestream

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
)

// The last whole mark counts, whatever a crash has left behind it, and the file does not grow for ever.
func TestMark(t *testing.T) {
	d := agent.Data{Dir: t.TempDir()}
	is := func(what string, seq uint64) {
		t.Helper()
		if m, err := readMark(d); err != nil || m.Seq != seq {
			t.Errorf("%s: %+v, %v; want %d", what, m, err, seq)
		}
	}
	write := func(seq uint64) {
		t.Helper()
		if err := writeMark(d, mark{Incarnation: "life", Epoch: 1, Seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	is("none", 0)
	for seq := range uint64(300) {
		write(seq)
		is("written", seq)
	}
	if st, err := os.Stat(markPath(d)); err != nil || st.Size() > markRoom {
		t.Errorf("%d bytes, %v", st.Size(), err)
	}
	for name, torn := range map[string]string{
		"half a line": `{"incarnation":"li`, "zeros": strings.Repeat("\x00", 40), "a line of something": "{\"incarnation\":\x00\x00\n", "two": "x\ny",
	} {
		write(7)
		f, err := os.OpenFile(markPath(d), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = fmt.Fprint(f, torn)
		}
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		is(name, 7)
		write(8)
		is(name+", and one more", 8)
	}
	if err := os.WriteFile(markPath(d), []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := readMark(d); err == nil {
		t.Errorf("a file without a mark: %+v", m)
	}
}
