package report

import (
	"image/color"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Charts are as wide as GitHub shows a page, in points of which it shows four for three pixels.
const (
	chartWidth = 640
	margin     = 16
)

var (
	ink   = color.NRGBA{R: 0x1f, G: 0x23, B: 0x28, A: 0xff} // what is to be read
	faint = color.NRGBA{R: 0x59, G: 0x63, B: 0x6e, A: 0xff} // axes, and what explains
	rule  = color.NRGBA{R: 0xe3, G: 0xe6, B: 0xea, A: 0xff} // lines of the grid
	shade = color.NRGBA{R: 0xff, G: 0xf1, B: 0xd6, A: 0xff} // a span of time that is spoken of

	// palette is the colours of series, after Okabe and Ito: they stay apart for the colour-blind.
	palette = []color.NRGBA{
		{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
		{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
		{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
		{R: 0xb0, G: 0x5a, B: 0x8d, A: 0xff},
	}
)

// series returns the colour of the series of a number.
func series(i int) color.NRGBA { return palette[i%len(palette)] }

// pale returns a colour halfway to white.
func pale(c color.NRGBA) color.NRGBA {
	half := func(v uint8) uint8 { return uint8((int(v) + 255) / 2) }
	return color.NRGBA{R: half(c.R), G: half(c.G), B: half(c.B), A: c.A}
}

// style returns how text is written. Sans is the only family that is at hand everywhere.
func style(size vg.Length, c color.Color) text.Style {
	return text.Style{
		Color:   c,
		Font:    font.Font{Typeface: plot.DefaultFont.Typeface, Variant: "Sans", Size: size},
		XAlign:  text.XLeft,
		YAlign:  text.YBottom,
		Handler: plot.DefaultTextHandler,
	}
}

// bold returns a style in bold.
func bold(s text.Style) text.Style {
	s.Font.Weight = xfont.WeightBold
	return s
}

// key is an entry of a legend.
type key struct {
	name  string
	color color.Color
}

// svg draws a chart of a height under its title, a line that explains it and its legend. body gets what is left below.
func svg(height vg.Length, title, note string, keys []key, body func(draw.Canvas)) ([]byte, error) {
	canvas := &measured{Canvas: vgsvg.New(chartWidth, height)}
	c := draw.New(canvas)
	fill(c, c.Rectangle, color.White)
	c = draw.Crop(c, margin, -margin, margin, -margin)

	c = heading(c, bold(style(14, ink)), title)
	if note != "" {
		c = heading(c, style(11, faint), note)
	}
	if len(keys) > 0 {
		legend(c, c.Min.X, c.Max.Y-11, keys)
		c.Max.Y -= 20
	}
	c.Max.Y -= 4
	body(c)

	return canvas.bytes()
}

// heading writes a line at the top and returns what is left below it.
func heading(c draw.Canvas, s text.Style, line string) draw.Canvas {
	s.YAlign = text.YTop
	c.FillText(s, vg.Point{X: c.Min.X, Y: c.Max.Y}, line)
	c.Max.Y -= s.Font.Size * 1.5
	return c
}

// legend writes keys from left to right, with y as their base line.
func legend(c draw.Canvas, x, y vg.Length, keys []key) {
	s := style(10, faint)
	for _, k := range keys {
		fill(c, vg.Rectangle{Min: vg.Point{X: x, Y: y}, Max: vg.Point{X: x + 9, Y: y + 9}}, k.color)
		x += 13
		c.FillText(s, vg.Point{X: x, Y: y - 0.5}, k.name)
		x += s.Width(k.name) + 16
	}
}

// fill paints a rectangle.
func fill(c draw.Canvas, r vg.Rectangle, with color.Color) {
	c.FillPolygon(with, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}})
}

// line returns how a line is drawn.
func line(width vg.Length, c color.Color) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: width}
}

// axes returns an empty plot in the style of all charts.
func axes() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.LineStyle = line(0.75, faint)
		a.Tick.LineStyle, a.Tick.Length = line(0.1, color.Transparent), 4 // a gap rather than a mark
		a.Tick.Label.Font, a.Tick.Label.Color = style(10, faint).Font, faint
		a.Label.TextStyle.Font, a.Label.TextStyle.Color = style(10, faint).Font, faint
		a.Padding = 0
	}
	return p
}
