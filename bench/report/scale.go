package report

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// scale returns the ticks of an axis from 0 to at least limit, in some five round steps.
func scale(limit float64, format func(float64) string) []plot.Tick {
	if !(limit > 0) {
		limit = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(limit/5)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if limit/(step*factor) <= 6 {
			step *= factor
			break
		}
	}
	var ticks []plot.Tick
	for i := 0; ; i++ {
		value := float64(i) * step
		ticks = append(ticks, plot.Tick{Value: value, Label: format(value)})
		if value >= limit*(1-1e-9) {
			return ticks
		}
	}
}

// logScale returns the ticks of a logarithmic axis, at the powers of ten around what it shows.
func logScale(least, most float64, format func(float64) string) []plot.Tick {
	if !(least > 0) || !(most > 0) {
		least, most = 1, 1
	}
	var ticks []plot.Tick
	first, last := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	for e := first; e <= max(last, first+1); e++ {
		value := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: value, Label: format(value)})
	}
	return ticks
}

// tick writes the label of a tick: with its thousands apart, or as short as a fraction can be.
func tick(value float64) string {
	if value == math.Trunc(value) {
		return Count(value)
	}
	return trim(value)
}

// trim writes a number without zeros at its end.
func trim(value float64) string { return strconv.FormatFloat(value, 'g', 4, 64) }
