package spec

import (
	"testing"
	"time"
)

// On the days on which clocks change, a window opens once and closes once, and NextOpen says when; what the clock skips opens with the
// first moment that there is.
func TestWindowsAcrossDST(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, start, end string
		day              time.Time
		opens, closes    string // UTC
	}{
		{"an ordinary night", "01:00", "05:00", time.Date(2026, 3, 28, 0, 0, 0, 0, berlin), "2026-03-28T00:00:00Z", "2026-03-28T04:00:00Z"},
		{"an hour shorter in spring", "01:00", "05:00", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"},
		{"an hour longer in autumn", "01:00", "05:00", time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), "2026-10-24T23:00:00Z", "2026-10-25T04:00:00Z"},
		{"its start is skipped", "02:00", "04:00", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		{"its start is amid what is skipped", "02:30", "04:00", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		{"its end is skipped", "01:00", "02:30", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"over midnight into spring", "23:00", "04:00", time.Date(2026, 3, 28, 0, 0, 0, 0, berlin), "2026-03-28T22:00:00Z", "2026-03-29T02:00:00Z"},
		{"over midnight into autumn", "23:00", "04:00", time.Date(2026, 10, 24, 0, 0, 0, 0, berlin), "2026-10-24T21:00:00Z", "2026-10-25T03:00:00Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := []TimeWindow{{Start: tc.start, End: tc.end, Timezone: "Europe/Berlin", Days: []string{weekdays[(int(tc.day.Weekday())+6)%7]}}}
			opens, _ := time.Parse(time.RFC3339, tc.opens)
			closes, _ := time.Parse(time.RFC3339, tc.closes)
			for at := tc.day.Add(-2 * time.Hour); at.Before(tc.day.Add(34 * time.Hour)); at = at.Add(10 * time.Minute) {
				open := NextOpen(w, at).Equal(at)
				if want := !at.Before(opens) && at.Before(closes); open != want {
					t.Errorf("at %s: open %v, want %v", at.UTC().Format(time.RFC3339), open, want)
				}
				if next := NextOpen(w, at); at.Before(opens) && !next.Equal(opens) {
					t.Errorf("at %s: opens at %s, want %s", at.UTC().Format(time.RFC3339), next.UTC().Format(time.RFC3339), tc.opens)
				}
			}
		})
	}
}
