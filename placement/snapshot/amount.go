package snapshot

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Amount is a quantity of some resource in thousandths, so that sums are exact. On the wire it is a number, or text with one of the
// suffixes m, k, M, G, T, Ki, Mi, Gi, Ti.
type Amount int64

// Amounts is a quantity for each of some resources: cpu in cores, memory in bytes, anything else in its own unit.
type Amounts map[string]Amount

var suffixes = []struct {
	text   string
	factor int64 // in thousandths
}{
	{"Ti", 1000 << 40}, {"Gi", 1000 << 30}, {"Mi", 1000 << 20}, {"Ki", 1000 << 10}, {"T", 1e15}, {"G", 1e12}, {"M", 1e9}, {"k", 1e6}, {"m", 1},
}

// String implements fmt.Stringer: a plain decimal number.
func (a Amount) String() string {
	if a%1000 == 0 {
		return strconv.FormatInt(int64(a/1000), 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", a/1000, a%1000), "0")
}

// MarshalJSON writes a number.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Anything finer than a thousandth is refused, not rounded.
func (a *Amount) UnmarshalText(b []byte) error {
	s := string(b)
	number, factor := s, int64(1000)
	for _, x := range suffixes {
		if rest, found := strings.CutSuffix(s, x.text); found {
			number, factor = rest, x.factor
			break
		}
	}
	if v, err := strconv.ParseInt(number, 10, 64); err == nil && v >= 0 && v <= (1<<62)/factor {
		*a = Amount(v * factor)
		return nil
	}
	r, ok := new(big.Rat).SetString(number)
	if ok && len(number) <= 40 && !strings.ContainsAny(number, "/_+-xXpPoObB") {
		if r.Mul(r, new(big.Rat).SetInt64(factor)); r.IsInt() && r.Num().IsInt64() && r.Num().Int64() <= 1<<62 {
			*a = Amount(r.Num().Int64())
			return nil
		}
	}
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Errorf("amount %q: want a number such as 2 or 0.5, or one with a suffix such as 500m or 4Gi", s)
}

// UnmarshalJSON accepts a number or a string.
func (a *Amount) UnmarshalJSON(b []byte) error {
	switch jsontext.Value(b).Kind() {
	case '"':
		text, err := jsontext.AppendUnquote(nil, b)
		if err != nil {
			return err
		}
		return a.UnmarshalText(text)
	case 'n':
		return nil
	case '0':
		return a.UnmarshalText(b)
	}
	return fmt.Errorf("want a number")
}
