package spec

import (
	"slices"
	"time"
)

// NextOpen says when a time is next inside one of the windows: now when it already is, or when there are no windows. A window belongs
// to the day it starts on, in its own zone; a clock that is put forward over its start opens it at the first moment after.
func NextOpen(windows []TimeWindow, now time.Time) time.Time {
	if len(windows) == 0 {
		return now
	}
	var next time.Time
	for _, w := range windows {
		loc, err := time.LoadLocation(w.Timezone)
		if err != nil {
			continue
		}
		start, errStart := time.Parse("15:04", w.Start)
		end, errEnd := time.Parse("15:04", w.End)
		if errStart != nil || errEnd != nil {
			continue
		}
		local := now.In(loc)
		for day := -1; day <= 8; day++ {
			on := func(plus int, t time.Time) time.Time {
				return wall(local.Year(), local.Month(), local.Day()+day+plus, t.Hour(), t.Minute(), loc)
			}
			from, to := on(0, start), on(0, end)
			if !end.After(start) {
				to = on(1, end)
			}
			name := weekdays[(int(from.Weekday())+6)%7]
			if len(w.Days) > 0 && !slices.Contains(w.Days, name) || !to.After(from) {
				continue
			}
			if !now.Before(from) && now.Before(to) {
				return now
			}
			if from.After(now) && (next.IsZero() || from.Before(next)) {
				next = from
			}
		}
	}
	return next
}

// wall is the moment at which clocks in a place show a time; where they skip it, the moment at which they do.
func wall(year int, month time.Month, day, hour, minute int, loc *time.Location) time.Time {
	t := time.Date(year, month, day, hour, minute, 0, 0, loc)
	if t.Hour() == hour && t.Minute() == minute {
		return t
	}
	since, until := t.ZoneBounds()
	if t.Hour()*60+t.Minute() > hour*60+minute {
		return since
	}
	return until
}
