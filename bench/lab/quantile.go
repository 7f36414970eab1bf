package lab

import (
	"cmp"
	"math"
	"slices"
)

// Quantile returns the one of sorted figures that a share of them does not exceed. There has to be one.
func Quantile[F cmp.Ordered](sorted []F, share float64) F {
	return sorted[max(int(math.Ceil(share*float64(len(sorted))))-1, 0)]
}

// Median returns the middle one of figures, the higher of two, 0 where there are none.
func Median[F cmp.Ordered](figures []F) (middle F) {
	if len(figures) == 0 {
		return middle
	}
	sorted := slices.Sorted(slices.Values(figures))
	return sorted[len(sorted)/2]
}

// MedianOf returns the median of what each has for a figure.
func MedianOf[T any, F cmp.Ordered](all []T, of func(T) F) F {
	figures := make([]F, len(all))
	for i, one := range all {
		figures[i] = of(one)
	}
	return Median(figures)
}
