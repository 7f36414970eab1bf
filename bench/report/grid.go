package report

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
)

// grid draws a faint line at each tick of an axis.
type grid struct{ x, y []plot.Tick }

// Plot implements [plot.Plotter].
func (g grid) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, t := range g.x {
		c.StrokeLine2(line(0.75, rule), x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
	}
	for _, t := range g.y {
		c.StrokeLine2(line(0.75, rule), c.Min.X, y(t.Value), c.Max.X, y(t.Value))
	}
}
