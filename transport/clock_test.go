package transport

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestClock(t *testing.T) {
	t0 := time.Unix(1000, 0)
	type step struct {
		stored time.Duration // since t0; negative: no heartbeat
		boot   time.Duration
		want   time.Duration // since t0
		sure   bool
	}
	none := -time.Hour
	for name, steps := range map[string][]step{
		"runs between heartbeats":          {{0, 10 * time.Second, 0, true}, {none, 11 * time.Second, time.Second, true}},
		"unsure when they stay away":       {{0, 0, 0, true}, {none, 1999 * time.Millisecond, 1999 * time.Millisecond, true}, {none, 2 * time.Second, 2 * time.Second, false}},
		"sure again at the next":           {{0, 0, 0, true}, {none, 5 * time.Second, 5 * time.Second, false}, {6 * time.Second, 6 * time.Second, 6 * time.Second, true}},
		"a late heartbeat takes back none": {{0, 0, 0, true}, {time.Second, 1500 * time.Millisecond, 1500 * time.Millisecond, true}},
		"a leader far behind: stands still, unsure": {{time.Hour, 0, time.Hour, true}, {0, time.Second, time.Hour + time.Second, false},
			{time.Second, 2 * time.Second, time.Hour + time.Second, false}},
		"a heartbeat held up by an outage": {{0, 0, 0, true}, {time.Second, time.Minute, time.Minute, false}, {61 * time.Second, 61 * time.Second, 61 * time.Second, true}},
		"a leader ahead":                   {{0, 0, 0, true}, {time.Minute, time.Second, time.Minute, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var c Clock
			if _, sure := c.Now(0); sure {
				t.Error("sure before the first heartbeat")
			}
			for i, s := range steps {
				if s.stored != none {
					c.Observe(t0.Add(s.stored), s.boot)
				}
				got, sure := c.Now(s.boot)
				if got.Sub(t0) != s.want || sure != s.sure {
					t.Errorf("step %d: got %s sure=%t, want %s sure=%t", i, got.Sub(t0), sure, s.want, s.sure)
				}
			}
		})
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			c    Clock
			boot time.Duration
			last time.Time
		)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			boot += time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, "pause"))
			if rapid.Bool().Draw(t, "beat") {
				c.Observe(time.Unix(0, rapid.Int64Range(0, int64(time.Minute)).Draw(t, "stored")), boot)
			}
			now, _ := c.Now(boot)
			if now.Before(last) {
				t.Fatalf("went from %s to %s", last, now)
			}
			last = now
		}
	})
}

func TestBoottimeRuns(t *testing.T) {
	if a, b := Boottime(), Boottime(); a <= 0 || b < a {
		t.Errorf("got %s, then %s", a, b)
	}
}
