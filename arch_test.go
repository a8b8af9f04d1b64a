// Package gocluster_test holds the rules of the house that a compiler does not check, each with its reason.
package gocluster_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/go-cluster/go-cluster/"

// source is one parsed Go file. Its path is relative to the module and has slashes.
type source struct {
	path string
	text []byte
	fset *token.FileSet
	ast  *ast.File
}

func (s source) dir() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }
func (s source) pos(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

// imports returns the imported paths; those of this module are cut to "./<package>".
func (s source) imports() []string {
	var out []string
	for _, i := range s.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		if rest, ours := strings.CutPrefix(p, module); ours {
			p = "./" + rest
		}
		out = append(out, p)
	}
	return out
}

func parse(name string, text []byte) (source, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	return source{path: name, text: text, fset: fset, ast: f}, err
}

// tree parses every Go file of the module.
func tree(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(name), text)
		if err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("%d files: this is not the module's directory", len(all))
	}
	return all
}

// A layer is a package, or with /* all packages right below one, and what of this module it may import.
type layer struct {
	pkg string
	may []string
	why string
}

// Imports only go down, so that each package can be read, tested and trusted without those above it.
var layers = []layer{
	{"spec", nil, "what people declare is data; it knows nothing of how it is carried out"},
	{"events", []string{"spec"}, "the language is below all who speak it"},
	{"invariants", []string{"events", "spec"}, "what is checked must not be used to check it"},
	{"invariants/planted", nil, "mistakes for the proof of the laws: constants that are false"},
	{"api", []string{"events", "spec"}, "requests and replies are data"},
	{"projections", []string{"api", "events", "spec"}, "what is true follows from the log alone"},
	{"placement", []string{"api", "events", "placement/engine", "placement/model", "placement/snapshot", "projections", "spec"}, "what should change follows from what is true"},
	{"placement/snapshot", []string{"api", "events", "spec"}, "a state and a plan are data, whoever makes them"},
	{"placement/model", []string{"api", "placement/snapshot", "spec"}, "a problem is a compiled state and decides nothing"},
	{"placement/flow", nil, "counting knows no names"},
	{"placement/engine", []string{"events", "placement/flow", "placement/model", "placement/search", "placement/snapshot", "spec"}, "plans follow from a problem alone"},
	{"placement/search", nil, "searching knows no names"},
	{"placement/check", []string{"events", "placement/snapshot", "spec"}, "who judges plans shares no code with who makes them"},
	{"transport", []string{"api", "events", "spec"}, "it carries and does not judge"},
	{"dirlock", nil, "a lock knows nothing of what it keeps"},
	{"transport/embedded", []string{"dirlock"}, "a server is a server, whoever connects to it"},
	{"services", []string{"api", "events", "projections", "spec", "transport"}, "what the services share knows none of them"},
	{"services/*", []string{"api", "events", "invariants", "placement", "placement/snapshot", "projections", "services", "spec", "transport"}, "services meet in the log only, and run in one process or in five"},
	{"agent", []string{"api", "dirlock", "events", "projections", "spec", "transport"}, "drivers are handed in: the agent runs without any particular one"},
	{"agent/embedded", []string{"agent", "api", "events", "spec"}, "a driver runs the apps of its own program and knows nothing of the cluster"},
	{"agent/litestream", []string{"agent", "events"}, "it carries data and knows neither who may lead nor why"},
	{"agent/wal", []string{"agent", "events"}, "a log knows records and epochs, and neither leases nor who may lead"},
	{"agent/machine", []string{"api", "events", "spec"}, "it measures and decides nothing"},
	{"cluster", []string{"agent", "agent/embedded", "agent/machine", "agent/wal", "api", "cluster/internal/attach", "events", "spec", "transport"}, "a program that imports it pays for no service, no server and no CLI"},
	{"cluster/internal/attach", []string{"agent", "agent/embedded"}, "a place to plug in knows nothing of what is plugged in"},
	{"cluster/sqlite", []string{"agent", "agent/embedded", "agent/litestream", "api", "cluster", "cluster/internal/attach"}, "who keeps no database links none"},
	{"agent/process", []string{"agent", "agent/watchdog", "events", "spec"}, "a driver runs programs and knows nothing of the cluster"},
	{"agent/vip", []string{"events", "spec"}, "it carries addresses and knows neither apps nor leases"},
	{"agent/watchdog", nil, "it must live when everything else is broken"},
	{"examples/*", []string{"cluster", "cluster/sqlite", "examples/journal", "examples/ledger"}, "a sample app is an app like those of others: it has no part of ours in it but what is public"},
	{"cmd/go-cluster", []string{"*"}, "where everything is put together"},
	{"cmd/roadef", []string{"placement/search"}, "a contest of the search alone"},
	{"cmd/hunt", []string{"invariants/planted"}, "it builds and runs the simulation with each planted mistake"},
	// What tests are made with. Only tests import it.
	{"services/servicetest", []string{"*"}, "a harness"},
	{"transport/embedded/servertest", []string{"events", "transport", "transport/embedded"}, "a harness"},
	{"agent/replicationtest", []string{"agent", "events"}, "a contract is held against any implementation"},
	{"sim", []string{"*"}, "a harness"},
	{"chaos", []string{"*"}, "a harness"},
}

var harnesses = []string{"./services/servicetest", "./agent/replicationtest", "./transport/embedded/servertest", "./sim", "./chaos"}

func layerOf(dir string) (layer, bool) {
	for _, exact := range []string{dir, path.Dir(dir) + "/*"} {
		if i := slices.IndexFunc(layers, func(l layer) bool { return l.pkg == exact }); i >= 0 {
			return layers[i], true
		}
	}
	return layer{}, false
}

func importsGoDown(s source) (out []string) {
	if s.isTest() || s.dir() == "." {
		return nil
	}
	l, known := layerOf(s.dir())
	if !known {
		return []string{fmt.Sprintf("%s: package %s has no layer: decide where it stands", s.path, s.dir())}
	}
	for _, i := range s.imports() {
		p, ours := strings.CutPrefix(i, "./")
		if !ours || p == "invariants/planted" { // no package, but constants that are false: any may have a mistake planted
			continue
		}
		if slices.Contains(harnesses, i) && !slices.Contains(harnesses, "./"+s.dir()) {
			out = append(out, fmt.Sprintf("%s imports %s: it is for tests", s.path, p))
		} else if !slices.Contains(l.may, "*") && !slices.Contains(l.may, p) {
			out = append(out, fmt.Sprintf("%s imports %s: %s", s.path, p, l.why))
		}
	}
	return out
}

// Who may see NATS itself. The log's guarantees live in events and transport; code that went past them would lose them.
func natsIsBehindItsDoors(s source) (out []string) {
	if s.isTest() || slices.Contains(harnesses, "./"+s.dir()) || s.dir() == "cmd/go-cluster" {
		return nil
	}
	for _, i := range s.imports() {
		switch {
		case strings.HasPrefix(i, "github.com/nats-io/nats-server/"):
			if s.dir() != "transport/embedded" {
				out = append(out, fmt.Sprintf("%s imports %s: only transport/embedded runs a server; a process that only connects does not link one", s.path, i))
			}
		case strings.HasPrefix(i, "github.com/nats-io/") || strings.HasPrefix(i, "github.com/ThreeDotsLabs/"):
			switch s.dir() {
			case "events", "transport", "transport/embedded", "services", "agent", "agent/wal": // the last has streams of its own
				continue
			case "agent/litestream": // its store is an object store, which carries data and decides nothing
				continue
			case "cluster": // it holds a connection, and does nothing with it but hand it on
				if i == "github.com/nats-io/nats.go" {
					continue
				}
			}
			// A service may ask its connection for its state. Everything that is stored or read goes through events and transport.
			if path.Dir(s.dir()) == "services" && i == "github.com/nats-io/nats.go" && !isPure(s.path) {
				continue
			}
			out = append(out, fmt.Sprintf("%s imports %s: appends, reads and work go through events and transport", s.path, i))
		}
	}
	return out
}

// isPure says whether a file must be a function of its arguments: equal inputs make equal outputs, at any time and on any machine.
// That is what lets a fold be replayed, a plan be recomputed, a decision be tested in microseconds.
func isPure(file string) bool {
	if strings.HasSuffix(file, "_test.go") {
		return false
	}
	dir, base := path.Split(file)
	switch dir {
	case "placement/", "placement/snapshot/", "placement/model/", "placement/flow/", "placement/engine/", "placement/check/", "spec/", "api/", "invariants/":
		return true
	case "projections/":
		return base != "replica.go"
	}
	if path.Dir(path.Clean(dir)) != "services" || dir == "services/servicetest/" {
		return false
	}
	return base == "decide.go" || base == "next.go" || base == "silence.go" || base == "trigger.go" || strings.HasPrefix(base, "strategy")
}

// pureNet is what may be used of net: it takes strings apart and asks nobody.
var pureNet = []string{"SplitHostPort", "JoinHostPort", "ParseIP", "ParseCIDR", "ParseMAC"}

var impureImports = []string{"os", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "syscall", "runtime", "unsafe",
	"go.uber.org/zap", "golang.org/x/sys/unix", "./transport"}

var impureTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

func pureIsPure(s source) (out []string) {
	if !isPure(s.path) {
		return nil
	}
	bad := func(n ast.Node, what string) {
		out = append(out, fmt.Sprintf("%s: %s in a pure file: time, ids and chance are arguments, and nothing happens on the side", s.pos(n), what))
	}
	for i, p := range s.imports() {
		for _, impure := range impureImports {
			if p == impure || strings.HasPrefix(p, impure+"/") {
				bad(s.ast.Imports[i], "import of "+p)
			}
		}
		if strings.HasPrefix(p, "net/") && p != "net/url" && p != "net/netip" {
			bad(s.ast.Imports[i], "import of "+p)
		}
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			bad(n, "a goroutine")
		case *ast.ChanType:
			bad(n, "a channel")
		case *ast.SendStmt:
			bad(n, "a send")
		case *ast.SelectStmt:
			bad(n, "a select")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				bad(n, "a receive")
			}
		case *ast.SelectorExpr:
			if slices.Contains(impureTime, n.Sel.Name) && isPackage(s, n.X, "time") {
				bad(n, "time."+n.Sel.Name)
			}
			if isPackage(s, n.X, "net") && !slices.Contains(pureNet, n.Sel.Name) {
				bad(n, "net."+n.Sel.Name)
			}
		}
		return true
	})
	return out
}

// isPackage says whether x is the name under which a file imports a package.
func isPackage(s source, x ast.Expr, pkg string) bool {
	id, ok := x.(*ast.Ident)
	if !ok || id.Obj != nil { // an object is a variable of the same name
		return false
	}
	for i, p := range s.imports() {
		if p != pkg {
			continue
		}
		if as := s.ast.Imports[i].Name; as != nil {
			return as.Name == id.Name
		}
		return id.Name == path.Base(pkg)
	}
	return false
}

// A test that sleeps is slow where it passes and wrong where it fails: wait for the thing itself, in virtual time where it takes long.
func testsDoNotSleep(s source) (out []string) {
	if !s.isTest() {
		return nil
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" && isPackage(s, sel.X, "time") {
			out = append(out, s.pos(n)+": time.Sleep in a test")
		}
		return true
	})
	return out
}

// A package is named after what it knows. These names know nothing, so that everything ends up in them.
func namesSayWhat(s source) []string {
	switch name := strings.TrimSuffix(s.ast.Name.Name, "_test"); name {
	case "util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base", "lib":
		return []string{fmt.Sprintf("%s: a package named %s", s.path, name)}
	}
	return nil
}

const mostLines = 700

// One idea to a file. Who needs more lines than this has two.
func filesAreShort(s source) []string {
	if n := bytes.Count(s.text, []byte("\n")); !s.isTest() && n > mostLines {
		return []string{fmt.Sprintf("%s: %d lines, at most %d", s.path, n, mostLines)}
	}
	return nil
}

var machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9_.$}/-])/(work|tmp|home|root)/`)

// Code that names a directory of somebody's machine works there only.
func noMachinePaths(s source) (out []string) {
	if s.isTest() {
		return nil
	}
	for i, line := range bytes.Split(s.text, []byte("\n")) {
		if m := machinePath.Find(line); m != nil {
			out = append(out, fmt.Sprintf("%s:%d: %q", s.path, i+1, m))
		}
	}
	return out
}

var fileRules = map[string]func(source) []string{
	"imports go down":           importsGoDown,
	"NATS is behind its doors":  natsIsBehindItsDoors,
	"pure is pure":              pureIsPure,
	"tests do not sleep":        testsDoNotSleep,
	"names say what":            namesSayWhat,
	"files are short":           filesAreShort,
	"no paths of one's machine": noMachinePaths,
}

func TestArchitecture(t *testing.T) {
	all := tree(t)
	for name, rule := range fileRules {
		t.Run(name, func(t *testing.T) {
			for _, s := range all {
				for _, broken := range rule(s) {
					t.Error(broken)
				}
			}
		})
	}
	t.Run("packages are documented", func(t *testing.T) {
		for _, broken := range undocumented(all) {
			t.Error(broken)
		}
	})
	t.Run("layers exist", func(t *testing.T) {
		for _, l := range layers {
			if !slices.ContainsFunc(all, func(s source) bool { got, ok := layerOf(s.dir()); return ok && got.pkg == l.pkg }) {
				t.Errorf("layer %s has no package: take it out", l.pkg)
			}
		}
	})
}

// Each package says in one place what it is for.
func undocumented(all []source) (out []string) {
	docs := map[string][]string{}
	for _, s := range all {
		if s.isTest() {
			continue
		}
		docs[s.dir()] = append(docs[s.dir()], s.ast.Doc.Text())
	}
	for dir, texts := range docs {
		texts = slices.DeleteFunc(texts, func(s string) bool { return s == "" })
		want := "Package " + path.Base(dir)
		if strings.HasPrefix(dir, "cmd/") {
			want = "Command " + path.Base(dir)
		}
		if len(texts) != 1 || !strings.HasPrefix(texts[0], want+" ") {
			out = append(out, fmt.Sprintf("package %s: %d package comments, want one that begins %q", dir, len(texts), want))
		}
	}
	slices.Sort(out)
	return out
}

// Each rule is broken once here, so that none can pass because it looks nowhere.
func TestRulesBite(t *testing.T) {
	pure := func(imports, body string) string {
		return "package placement\nimport (" + imports + ")\nfunc f(ch chan<- int, in <-chan int) {" + body + "}\n"
	}
	for _, c := range []struct{ rule, path, text, want string }{
		{"imports go down", "spec/x.go", `package spec; import _ "github.com/go-cluster/go-cluster/events"`, "spec/x.go imports events"},
		{"imports go down", "events/x.go", `package events; import _ "github.com/go-cluster/go-cluster/transport"`, "imports transport"},
		{"imports go down", "projections/x.go", `package projections; import _ "github.com/go-cluster/go-cluster/placement"`, "imports placement"},
		{"imports go down", "transport/x.go", `package transport; import _ "github.com/go-cluster/go-cluster/transport/embedded"`, "imports transport/embedded"},
		{"imports go down", "services/planner/x.go", `package planner; import _ "github.com/go-cluster/go-cluster/services/migrator"`, "meet in the log only"},
		{"imports go down", "services/x.go", `package services; import _ "github.com/go-cluster/go-cluster/services/migrator"`, "imports services/migrator"},
		{"imports go down", "agent/x.go", `package agent; import _ "github.com/go-cluster/go-cluster/agent/process"`, "drivers are handed in"},
		{"imports go down", "services/x.go", `package services; import _ "github.com/go-cluster/go-cluster/agent/watchdog"`, "imports agent/watchdog"},
		{"imports go down", "cmd/go-cluster/x.go", `package main; import _ "github.com/go-cluster/go-cluster/sim"`, "it is for tests"},
		{"imports go down", "extra/x.go", `package extra`, "has no layer"},
		{"imports go down", "events/x_test.go", `package events; import _ "github.com/go-cluster/go-cluster/transport"`, ""},
		{"NATS is behind its doors", "transport/x.go", `package transport; import _ "github.com/nats-io/nats-server/v2/server"`, "only transport/embedded"},
		{"NATS is behind its doors", "projections/x.go", `package projections; import _ "github.com/nats-io/nats.go"`, "go through events and transport"},
		{"NATS is behind its doors", "services/planner/decide.go", `package planner; import _ "github.com/nats-io/nats.go"`, "go through events and transport"},
		{"NATS is behind its doors", "services/planner/loop.go", `package planner; import _ "github.com/nats-io/nats.go/jetstream"`, "go through events and transport"},
		{"NATS is behind its doors", "services/planner/loop.go", `package planner; import _ "github.com/nats-io/nats.go"`, ""},
		{"pure is pure", "placement/x.go", pure(`"time"`, `_ = time.Now()`), "time.Now"},
		{"pure is pure", "placement/x.go", pure(`clock "time"`, `_ = clock.Since`), "time.Since"},
		{"pure is pure", "placement/x.go", pure(`"time"`, `var t time.Time; _ = t.After(t)`), "placement/x.go:3: a channel"}, // and nothing of After
		{"pure is pure", "services/migrator/next.go", pure(``, `go f(nil, nil)`), "a goroutine"},
		{"pure is pure", "services/migrator/strategy_pool.go", pure(``, `ch <- 1`), "a send"},
		{"pure is pure", "services/labeler/silence.go", pure(``, `<-in`), "a receive"},
		{"pure is pure", "projections/x.go", pure(``, `select {}`), "a select"},
		{"pure is pure", "api/x.go", pure(`"math/rand/v2"`, `_ = rand.Int`), "import of math/rand/v2"},
		{"pure is pure", "spec/x.go", pure(`"os"`, `_ = os.Args`), "import of os"},
		{"pure is pure", "spec/x.go", pure(`"net/http"`, `_ = http.Get`), "import of net/http"},
		{"pure is pure", "spec/x.go", pure(`"net"`, `_ = net.Dial`), "net.Dial"},
		{"pure is pure", "spec/x.go", pure(`"go.uber.org/zap"`, `_ = zap.L`), "import of go.uber.org/zap"},
		{"pure is pure", "projections/replica.go", pure(`"time"`, `_ = time.Now()`), ""},
		{"pure is pure", "services/planner/planner.go", pure(`"time"`, `_ = time.Now()`), ""},
		{"tests do not sleep", "agent/x_test.go", "package agent\nimport \"time\"\nfunc f() { time.Sleep(1) }", "agent/x_test.go:3"},
		{"tests do not sleep", "agent/x_test.go", "package agent\nimport zzz \"time\"\nvar f = zzz.Sleep", "agent/x_test.go:3"},
		{"names say what", "agent/helpers/x.go", "package helpers", "named helpers"},
		{"files are short", "agent/x.go", "package agent" + strings.Repeat("\n", mostLines+1), "701 lines"},
		{"files are short", "agent/x.go", "package agent" + strings.Repeat("\n", mostLines), ""},
		{"no paths of one's machine", "agent/x.go", "package agent\nconst dir = \"/tmp/agent\"", "agent/x.go:2"},
		{"no paths of one's machine", "agent/x.go", "package agent\n// see /home/me/notes", "agent/x.go:2"},
		{"no paths of one's machine", "agent/x.go", "package agent\nconst dir = \"/var/lib/go-cluster/tmp/x\"", ""},
	} {
		s, err := parse(c.path, []byte(c.text))
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		got := strings.Join(fileRules[c.rule](s), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s in %s: got %q, want %q", c.rule, c.path, got, cmp.Or(c.want, "nothing"))
		}
		if strings.Contains(c.text, "t.After(t)") && strings.Contains(got, "time.After") {
			t.Error("a method of a time counts as a clock")
		}
	}
	for text, bad := range map[string]bool{"package x": true, "// Package x is.\npackage x": false, "// Package y is.\npackage x": true} {
		s, err := parse("x/x.go", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := undocumented([]source{s}); (len(got) > 0) != bad {
			t.Errorf("%q: %v", text, got)
		}
	}
}
