package report

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bars is a chart of horizontal bars in groups, for figures to compare, as ratios are.
type Bars struct {
	// File is what the picture is called, in the directory of the page: "performance-ratio.svg".
	File  string
	Title string
	// Note says what the bars measure and in what unit.
	Note string
	// Series names the bars of each group, at most two of them; with one, there is no legend.
	Series []string
	Groups []Group
	// Goal is where a dashed line stands, 0: none.
	Goal float64
	// Format writes a figure beside its bar.
	Format func(float64) string
}

// Group is bars that belong together.
type Group struct {
	Name string
	// Values has a figure for each series; NaN leaves it out.
	Values []float64
	// Ours is drawn in colour, others in grey. Where no group is, all are drawn in colour.
	Ours bool
}

const (
	barHeight = 15
	groupGap  = 11
)

func (b Bars) markdown() string { return fmt.Sprintf("![%s](%s)", b.Title, b.File) }

func (b Bars) charts() (map[string][]byte, error) {
	for _, g := range b.Groups {
		if len(g.Values) != len(b.Series) {
			return nil, fmt.Errorf("%s: group %q has %d values for %d series", b.File, g.Name, len(g.Values), len(b.Series))
		}
	}
	var keys []key
	if len(b.Series) > 1 {
		for i, name := range b.Series {
			keys = append(keys, key{name, shades(series(0))[i%2]})
		}
	}
	p := axes()
	// The first group stands on top.
	names := make([]plot.Tick, len(b.Groups))
	for i, g := range b.Groups {
		names[i] = plot.Tick{Value: b.at(i), Label: g.Name}
	}
	p.Y.Tick.Marker, p.Y.Tick.Label = plot.ConstantTicks(names), right(style(11, ink))
	p.Y.Min, p.Y.Max = -0.5, float64(len(b.Groups))-0.5
	p.Y.LineStyle.Width = 0

	limit := b.Goal
	for _, g := range b.Groups {
		for _, v := range g.Values {
			if v > limit {
				limit = v
			}
		}
	}
	ticks := scale(limit, tick)
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	p.X.Min, p.X.Max = 0, max(ticks[len(ticks)-1].Value, limit*1.08) // room for the figure beside the longest bar
	p.X.LineStyle.Width = 0
	p.Add(grid{x: ticks}, bars{b})

	groupHeight := vg.Length(barHeight*len(b.Series) + groupGap)
	height := groupHeight*vg.Length(len(b.Groups)) + 2*margin + 44
	if b.Note != "" {
		height += 17
	}
	if len(keys) > 0 {
		height += 20
	}
	chart, err := svg(height, b.Title, b.Note, keys, func(c draw.Canvas) { p.Draw(c) })
	return map[string][]byte{b.File: chart}, err
}

// at returns where a group stands on the vertical axis.
func (b Bars) at(group int) float64 { return float64(len(b.Groups) - 1 - group) }

// shades returns a full and a pale colour.
func shades(c color.NRGBA) [2]color.NRGBA { return [2]color.NRGBA{c, pale(c)} }

// right returns a style whose text ends where it is put.
func right(s text.Style) text.Style {
	s.XAlign, s.YAlign = text.XRight, text.YCenter
	return s
}

// bars draws the bars of a chart.
type bars struct{ Bars }

// Plot implements [plot.Plotter].
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	ours := false
	for _, g := range b.Groups {
		ours = ours || g.Ours
	}
	for i, g := range b.Groups {
		hue := series(0)
		if ours && !g.Ours {
			hue = color.NRGBA{R: 0x6e, G: 0x77, B: 0x81, A: 0xff}
		}
		top := y(b.at(i)) + vg.Length(len(g.Values))*barHeight/2
		for j, v := range g.Values {
			low := top - vg.Length(j+1)*barHeight
			s := style(10, ink)
			if g.Ours {
				s = bold(s)
			}
			s.YAlign = text.YCenter
			if math.IsNaN(v) {
				c.FillText(s, vg.Point{X: x(0) + 4, Y: low + barHeight/2}, Missing)
				continue
			}
			bar := vg.Rectangle{Min: vg.Point{X: x(0), Y: low + 1}, Max: vg.Point{X: x(v), Y: low + barHeight - 1}}
			fill(c, bar, shades(hue)[j%2])
			c.FillText(s, vg.Point{X: x(v) + 4, Y: low + barHeight/2}, b.Format(v))
		}
	}
	if b.Goal > 0 {
		dashed := line(1, series(1))
		dashed.Dashes = []vg.Length{4, 3}
		c.StrokeLine2(dashed, x(b.Goal), c.Min.Y, x(b.Goal), c.Max.Y)
	}
}
