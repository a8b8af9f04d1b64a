package events

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/spec"
)

// A golden file is one stored message. Its name is <type>.v<version>.json, or <type>.v<version>-<what>.json for a message of the
// same version with what it gained later: a file that is there is never changed. SUBJECTS says on which subject each stands, and
// SHA256SUMS pins them all, in the format of sha256sum -c.
const goldenDir = "testdata/golden"

var addGolden = flag.Bool("add-golden", false, "write the golden file of each type and version that has none yet")

func TestGoldenFiles(t *testing.T) {
	if *addGolden {
		addMissing(t)
	}
	subjects := table(t, "SUBJECTS")
	fields := map[Type]map[string]bool{} // of each type's newest version: which fields some file sets
	for _, name := range goldenNames(t) {
		t.Run(name, func(t *testing.T) {
			subject, raw := subjects[name], readGolden(t, name)
			if subject == "" {
				t.Fatal("SUBJECTS has no line for it")
			}
			e, err := Decode(subject, 7, time.Unix(1768473000, 0), raw)
			if err != nil {
				t.Fatalf("a message that was well-formed once is refused: %v", err)
			}
			if prefix := fmt.Sprintf("%s.v%d", e.Type, e.V); name != prefix+".json" && !strings.HasPrefix(name, prefix+"-") {
				t.Errorf("the file has a %s of version %d", e.Type, e.V)
			}
			r, known := registry[e.Type]
			if !known {
				t.Fatalf("%s is not in the registry any more: its events are still in logs", e.Type)
			}
			if e.V != r.Version {
				return // an upcaster has changed it
			}
			again, err := encode(&e)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, raw) {
				t.Errorf("encoded again it differs:\n%s", cmp.Diff(string(raw), string(again)))
			}
			if fields[e.Type] == nil {
				fields[e.Type] = map[string]bool{}
			}
			setFields(reflect.ValueOf(e.Data).Elem(), "", fields[e.Type])
		})
	}
	for _, r := range Registry() {
		if fields[r.Type] == nil {
			t.Errorf("%s version %d has no golden file: add a sample and run `make golden`", r.Type, r.Version)
			continue
		}
		for _, f := range slices.Sorted(maps.Keys(fields[r.Type])) {
			if !fields[r.Type][f] {
				t.Errorf("%s version %d: no golden file sets %s", r.Type, r.Version, f)
			}
		}
	}
}

func TestGoldenFilesAreNeverEdited(t *testing.T) {
	sums := table(t, "SHA256SUMS") // sum → name: a sum stands once, since no two messages are equal
	byName := map[string]string{}
	for sum, name := range sums {
		byName[name] = sum
	}
	for _, name := range goldenNames(t) {
		b, err := os.ReadFile(filepath.Join(goldenDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if byName[name] == "" {
			t.Errorf("%s is not in SHA256SUMS: run `make golden`", name)
		} else if got := sum256(b); got != byName[name] {
			t.Errorf("%s was edited: its sum is %s, it was %s. Logs have such messages: restore it, and give a changed meaning a new version", name, got, byName[name])
		}
		delete(byName, name)
	}
	for name := range byName {
		t.Errorf("%s is in SHA256SUMS and is gone: logs have such messages", name)
	}
}

// The samples are what golden files are made of; each still decodes to what it was made of.
func TestSamplesRoundTrip(t *testing.T) {
	for _, s := range samples() {
		e := s.event()
		t.Run(string(e.Type), func(t *testing.T) {
			raw, err := encode(&e)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(e.subject(), 9, e.TS, raw)
			if err != nil {
				t.Fatal(err)
			}
			e.Seq, e.Stored, e.Hash = 9, e.TS, hashOf(raw)
			if d := cmp.Diff(e, got); d != "" {
				t.Errorf("what was written (-) is not what is read (+):\n%s", d)
			}
		})
	}
}

// setFields notes each field below v and whether it is set. A value of spec's scalar kinds is a leaf.
func setFields(v reflect.Value, path string, set map[string]bool) {
	if path != "" && !v.IsZero() { // a list or a pointer that another file leaves empty is set here
		set[path] = true
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		set[path] = set[path] || !v.IsZero()
	case v.Kind() == reflect.Pointer && !v.IsNil():
		setFields(v.Elem(), path, set)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			setFields(v.Field(i), path+"."+v.Type().Field(i).Name, set)
		}
	case v.Kind() == reflect.Slice && v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			setFields(v.Index(i), path+"[]", set)
		}
	case v.Kind() == reflect.Map && v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct:
		for _, k := range v.MapKeys() {
			setFields(v.MapIndex(k), path+"{}", set)
		}
	default:
		set[path] = set[path] || !v.IsZero()
	}
}

func TestSetFieldsSeesWhatIsMissing(t *testing.T) {
	set := map[string]bool{}
	setFields(reflect.ValueOf(PlanAdmitted{Plan: "p", Moves: []Move{{App: "a"}}}), "", set)
	for path, want := range map[string]bool{".Plan": true, ".Moves[].App": true, ".Moves[].Order": false, ".Refused": false, ".StateSeq": false} {
		if got, ok := set[path]; !ok || got != want {
			t.Errorf("%s: got %v (seen %v), want %v", path, got, ok, want)
		}
	}
	var none struct{ D spec.Duration }
	set = map[string]bool{}
	if setFields(reflect.ValueOf(none), "", set); set[".D"] {
		t.Error("a zero duration counts as set")
	}
}

func goldenNames(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(goldenDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		paths[i] = filepath.Base(p)
	}
	return paths
}

// readGolden returns the message in a file: all of it but the line feed at its end.
func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b, []byte("\n"))
}

// table reads lines of two words.
func table(t testing.TB, name string) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(goldenDir, name))
	if os.IsNotExist(err) {
		return map[string]string{}
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		if len(w) != 2 || out[w[0]] != "" {
			t.Fatalf("%s: %q: want two words, the first one new", name, lines.Text())
		}
		out[w[0]] = w[1]
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func sum256(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// addMissing writes a file for each sample that has none and appends it to both tables. It changes no file that is there.
func addMissing(t *testing.T) {
	t.Helper()
	for _, s := range samples() {
		e := s.event()
		raw, err := encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, '\n')
		name := fmt.Sprintf("%s.v%d.json", e.Type, e.V)
		if s.gained != "" {
			name = fmt.Sprintf("%s.v%d-%s.json", e.Type, e.V, s.gained)
		}
		f, err := os.OpenFile(filepath.Join(goldenDir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if os.IsExist(err) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		appendLine(t, "SUBJECTS", name+"  "+e.subject())
		appendLine(t, "SHA256SUMS", sum256(raw)+"  "+name)
	}
}

func appendLine(t *testing.T, name, line string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(goldenDir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
