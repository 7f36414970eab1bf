package report

import (
	"math"
	"strconv"
	"time"

	"headway/internal/bar"
)

// Missing stands where there is no figure.
const Missing = "–"

// Ratio writes a ratio with two digits: 0.48.
func Ratio(r float64) string {
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return Missing
	}
	return strconv.FormatFloat(r, 'f', 2, 64)
}

// Count writes a whole number with its thousands apart: 12,345.
func Count[N int | int64 | float64](n N) string {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Missing
	}
	return bar.Count(int64(math.RoundToEven(f)))
}

// Duration writes a time with two or three digits, in the unit that suits it: 0.65 ms, 4.7 ms, 22 ms, 1.2 s.
func Duration(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case ms >= 100_000:
		return Count(ms/1000) + " s"
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case ms >= 1:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	default:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	}
}

// Bytes writes a size in kB, MB or GB, which are 1000 of each other: 18 MB.
func Bytes(n float64) string {
	if math.IsNaN(n) {
		return Missing
	}
	for _, unit := range []struct {
		name string
		size float64
	}{{"GB", 1e9}, {"MB", 1e6}} {
		if n >= unit.size {
			digits := 0
			if n < 10*unit.size {
				digits = 1
			}
			return strconv.FormatFloat(n/unit.size, 'f', digits, 64) + " " + unit.name
		}
	}
	return Count(n/1000) + " kB"
}
