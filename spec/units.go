package spec

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
)

// durationForm is how a duration is written, however long it is.
var durationForm = regexp.MustCompile(`^\+?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`)

// Duration is a span of time, written as Go writes it ("30s", "5m", "1h30m"). It is never negative once validated.
type Duration time.Duration

// D returns d as the standard type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String implements fmt.Stringer in the wire form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A bare number other than 0 is
// refused: it has no unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil && durationForm.Match(b) {
		return fmt.Errorf("duration %s: too long: want at most %s", quoteShort(string(b)), time.Duration(math.MaxInt64).Truncate(time.Hour))
	}
	if err != nil {
		return fmt.Errorf("duration %s: want a number with a unit such as 30s, 5m or 1h30m", quoteShort(string(b)))
	}
	if v < 0 {
		return fmt.Errorf("duration %s: must not be negative", quoteShort(string(b)))
	}
	*d = Duration(v)
	return nil
}

// UnmarshalJSON accepts a string; a bare number gets the same error as in UnmarshalText.
func (d *Duration) UnmarshalJSON(b []byte) error { return unmarshalScalar(b, d) }

// CPU is processing power in thousandths of a core. On the wire it is a number of cores ("2", "0.5") or millicores ("500m").
type CPU int64

// Bytes is an amount of memory. On the wire it is a plain number of bytes or one with a suffix Ki, Mi, Gi, Ti, k, M, G or T.
type Bytes int64

// The suffixes in the order they are tried when formatting: the largest first.
var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10},
	{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3},
}

// String implements fmt.Stringer: whole cores as a number, anything else in millicores.
func (c CPU) String() string {
	if c%1000 == 0 {
		return strconv.FormatInt(int64(c/1000), 10)
	}
	return strconv.FormatInt(int64(c), 10) + "m"
}

// MarshalText implements encoding.TextMarshaler.
func (c CPU) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Anything finer than a thousandth of a core is refused, not rounded.
func (c *CPU) UnmarshalText(b []byte) error {
	s := string(b)
	number, factor := s, int64(1000)
	if n, found := strings.CutSuffix(s, "m"); found {
		number, factor = n, 1
	}
	v, ok := scaled(number, factor)
	if !ok {
		return fmt.Errorf("cpu %s: want a number of cores such as 2 or 0.5, or of millicores such as 500m", quoteShort(s))
	}
	*c = CPU(v)
	return nil
}

// UnmarshalJSON accepts a JSON number or string.
func (c *CPU) UnmarshalJSON(b []byte) error { return unmarshalScalar(b, c) }

// String implements fmt.Stringer with the largest binary suffix that is exact.
func (n Bytes) String() string {
	for _, u := range byteUnits[:4] {
		if n != 0 && int64(n)%u.factor == 0 {
			return strconv.FormatInt(int64(n)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(n), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (n Bytes) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A fraction is accepted when it comes to a whole number of bytes.
func (n *Bytes) UnmarshalText(b []byte) error {
	s := string(b)
	number, factor := s, int64(1)
	for _, u := range byteUnits {
		if rest, found := strings.CutSuffix(s, u.suffix); found {
			number, factor = rest, u.factor
			break
		}
	}
	v, ok := scaled(number, factor)
	if !ok {
		return fmt.Errorf("memory %s: want a number of bytes, or one with a suffix such as 512Mi or 4Gi", quoteShort(s))
	}
	*n = Bytes(v)
	return nil
}

// UnmarshalJSON accepts a JSON number or string.
func (n *Bytes) UnmarshalJSON(b []byte) error { return unmarshalScalar(b, n) }

// scaled multiplies a plain decimal number exactly; signs, exponents, fractions of a unit and overflow are refused.
func scaled(number string, factor int64) (int64, bool) {
	if !isPlainNumber(number) {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, false
	}
	r.Mul(r, new(big.Rat).SetInt64(factor))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

// isPlainNumber accepts digits with at most one inner point, at most 40 characters.
func isPlainNumber(s string) bool {
	whole, fraction, hasPoint := strings.Cut(s, ".")
	return len(s) <= 40 && isDigits(whole) && (!hasPoint || isDigits(fraction))
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// unmarshalScalar gives a JSON string's content or a JSON number's text to UnmarshalText, so that all formats share one
// grammar and one error; null leaves the value alone.
func unmarshalScalar(b []byte, into interface{ UnmarshalText([]byte) error }) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		b = []byte(s)
	}
	return into.UnmarshalText(b)
}
