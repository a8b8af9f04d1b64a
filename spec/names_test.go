package spec

import (
	"strings"
	"testing"
)

func TestValidateName(t *testing.T) {
	for _, good := range []string{"a", "0", "a-b", "node-1", strings.Repeat("a", 63)} {
		if err := ValidateName("app", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "A", "a_b", "a.b", "a b", "é", "a\x00", "*", ">", strings.Repeat("a", 64)} {
		if ValidateName("app", bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	const want = `app name "Foo_1": want 1 to 63 characters a-z, 0-9 and "-", starting and ending with a letter or digit`
	if got := ValidateName("app", "Foo_1").Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := InstanceID("web", 2); got != "web-2" {
		t.Errorf("instance id %s", got)
	}
}
