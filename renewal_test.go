package rediam_test

import (
	"testing"
	"time"

	"github.com/rediam/rediam"
)

func TestRenewalsHaveDefaultsAndLimits(t *testing.T) {
	for _, v := range []struct {
		name    string
		renewal rediam.Renewal
		want    rediam.Renewal // zero: refused
	}{
		{"nothing", rediam.Renewal{}, rediam.Renewal{After: 9 * time.Hour, Spread: 2 * time.Hour}},
		{"an age alone", rediam.Renewal{After: 9 * time.Second}, rediam.Renewal{After: 9 * time.Second, Spread: 2 * time.Second}},
		{"a spread alone", rediam.Renewal{Spread: time.Hour}, rediam.Renewal{After: 9 * time.Hour, Spread: time.Hour}},
		{"both", rediam.Renewal{After: 11 * time.Hour, Spread: 30 * time.Minute}, rediam.Renewal{After: 11 * time.Hour, Spread: 30 * time.Minute}},
		{"too late by a nanosecond", rediam.Renewal{After: 11 * time.Hour, Spread: 30*time.Minute + 1}, rediam.Renewal{}},
		{"too late by the default spread", rediam.Renewal{After: 10 * time.Hour}, rediam.Renewal{}},
		{"at once at the soonest", rediam.Renewal{After: time.Hour, Spread: time.Hour}, rediam.Renewal{}},
		{"before its time", rediam.Renewal{After: time.Hour, Spread: 2 * time.Hour}, rediam.Renewal{}},
		{"a negative age", rediam.Renewal{After: -time.Hour}, rediam.Renewal{}},
		{"a negative spread", rediam.Renewal{After: time.Hour, Spread: -time.Minute}, rediam.Renewal{}},
		{"ages that overflow", rediam.Renewal{After: 1<<63 - 1, Spread: 1<<63 - 2}, rediam.Renewal{}},
	} {
		got, err := v.renewal.Resolve()
		if refused := v.want == (rediam.Renewal{}); refused != (err != nil) || !refused && got != v.want {
			t.Errorf("%s: Resolve() = %v, %v, want %v", v.name, got, err, v.want)
		}
	}
}

func TestRenewalsAreSpreadOverTheirWholeRange(t *testing.T) {
	renewal, err := rediam.Renewal{}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	soonest, latest := time.Duration(1<<62), time.Duration(0)
	for range 1000 {
		age := renewal.Jittered()
		soonest, latest = min(soonest, age), max(latest, age)
	}
	if soonest < 7*time.Hour || soonest > 8*time.Hour || latest < 10*time.Hour || latest > 11*time.Hour {
		t.Errorf("ages from %v to %v, want nearly 7h to 11h", soonest, latest)
	}
}
