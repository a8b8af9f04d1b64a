package spec

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"GC_APP": "web", "GC_PORT_HTTP": "80", "GC_EMPTY": "", "GC_LOOP": "$GC_APP"}
	tests := []struct{ in, want, err string }{
		{in: "$GC_APP", want: "web"},
		{in: "http://x:${GC_PORT_HTTP}/$GC_APP.db", want: "http://x:80/web.db"},
		{in: "$$GC_APP $$$GC_APP $$", want: "$GC_APP $web $"},
		{in: "$HOME ${HOME} $1 $ $GC $(x) 5$", want: "$HOME ${HOME} $1 $ $GC $(x) 5$"},
		{in: "[$GC_EMPTY]", want: "[]"},
		{in: "$GC_LOOP", want: "$GC_APP"}, // values are not expanded again
		{in: "", want: ""},
		{in: "$GC_APPx", err: "unknown variable $GC_APPx"},
		{in: "$GC_", err: "unknown variable $GC_"},
		{in: "${GC_APP", err: `variable "${GC_APP": want ${NAME} with nothing else between the braces`},
		{in: "${GC_APP:-x}y", err: `variable "${GC_APP:-x}": want ${NAME} with nothing else between the braces`},
	}
	for _, tt := range tests {
		got, err := Expand(tt.in, vars)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err || got != "" {
				t.Errorf("%q: got %q, %v, want %s", tt.in, got, err, tt.err)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%q: got %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	if got := Variables("$GC_B ${GC_A} $$GC_C $GC_B ${GC_D"); !slices.Equal(got, []string{"GC_B", "GC_A"}) {
		t.Errorf("variables %v", got)
	}
	if !slices.Contains(KnownVariables(map[string]int{"a-b": 0}), "GC_PORT_A_B") {
		t.Error("the port's variable is missing")
	}
}

func TestExpandProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.SampledFrom([]rune("$GC_A{}x"))).Draw(t, "s")
		vars := map[string]string{}
		for _, name := range Variables(s) {
			vars[name] = name
		}
		if out, err := Expand(s, vars); err == nil && len(out) > len(s) {
			t.Fatalf("%q became the longer %q", s, out)
		}
		// Doubling every $ makes any text literal.
		var escaped []rune
		for _, r := range s {
			if escaped = append(escaped, r); r == '$' {
				escaped = append(escaped, r)
			}
		}
		if out, err := Expand(string(escaped), nil); err != nil || out != s {
			t.Fatalf("%q escaped came back as %q, %v", s, out, err)
		}
	})
}
