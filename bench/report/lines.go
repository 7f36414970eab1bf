package report

import (
	"fmt"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Lines is a chart of what happened over time: panels one above the other, over one axis of time.
type Lines struct {
	// File is what the picture is called, in the directory of the page: "soak.svg".
	File  string
	Title string
	Note  string
	// At is when each sample was taken, from the beginning of the run.
	At     []time.Duration
	Panels []Panel
	// Spans are times to shade in all panels.
	Spans []Span
}

// Panel is lines over one axis.
type Panel struct {
	// Title says what is measured and in what unit.
	Title string
	// Log has the axis logarithmic, for what spans orders of magnitude; figures that are not above 0 are left out.
	Log   bool
	Lines []Line
}

// Line is one figure over time.
type Line struct {
	// Name stands in the legend. A line that is alone in its panel needs none.
	Name string
	// Values has one for each sample; NaN interrupts the line.
	Values []float64
}

// Span is a time that something took.
type Span struct {
	Name       string
	From, Till time.Duration
}

const panelHeight = 122

func (l Lines) markdown() string { return fmt.Sprintf("![%s](%s)", l.Title, l.File) }

func (l Lines) charts() (map[string][]byte, error) {
	var end time.Duration
	for _, at := range l.At {
		end = max(end, at)
	}
	clock := minutes(end)

	plots := make([][]*plot.Plot, len(l.Panels))
	for i, panel := range l.Panels {
		for _, line := range panel.Lines {
			if len(line.Values) != len(l.At) {
				return nil, fmt.Errorf("%s: line %q has %d values for %d samples", l.File, line.Name, len(line.Values), len(l.At))
			}
		}
		p := axes()
		p.X.Min, p.X.Max = 0, end.Minutes()
		p.X.Tick.Marker = plot.ConstantTicks(nil)
		if i == len(l.Panels)-1 {
			p.X.Tick.Marker = plot.ConstantTicks(clock)
			p.X.Label.Text = "minutes since the beginning"
		}
		ticks := panel.scale()
		p.Y.Min, p.Y.Max = ticks[0].Value, ticks[len(ticks)-1].Value
		if panel.Log {
			p.Y.Scale = plot.LogScale{}
		}
		p.Y.Tick.Marker = plot.ConstantTicks(ticks)
		p.Y.LineStyle.Width = 0
		// The head of the panel is written by hand: gonum's titles are centred and have no legend.
		p.Title.Text, p.Title.TextStyle = " ", style(11, ink)
		p.Title.Padding = 8
		p.Add(spans(l.Spans), grid{x: clock, y: ticks}, curves{l.At, panel.Lines})
		plots[i] = []*plot.Plot{p}
	}

	var keys []key
	for _, s := range l.Spans {
		keys = append(keys, key{s.Name, shade})
	}
	height := vg.Length(panelHeight*len(l.Panels)) + 2*margin + 66
	chart, err := svg(height, l.Title, l.Note, keys, func(c draw.Canvas) {
		tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadY: 12}
		for i, row := range plot.Align(plots, tiles, c) {
			plots[i][0].Draw(row[0])
			head(c, row[0].Max.Y, l.Panels[i])
		}
	})
	return map[string][]byte{l.File: chart}, err
}

// head writes the title of a panel and its legend below top.
func head(c draw.Canvas, top vg.Length, p Panel) {
	s := bold(style(11, ink))
	base := top - 11
	c.FillText(s, vg.Point{X: c.Min.X, Y: base}, p.Title)
	var keys []key
	for i, l := range p.Lines {
		if l.Name != "" {
			keys = append(keys, key{l.Name, series(i)})
		}
	}
	legend(c, c.Min.X+s.Width(p.Title)+16, base+1, keys)
}

// scale returns the ticks of the vertical axis.
func (p Panel) scale() []plot.Tick {
	least, most := math.Inf(1), 0.0
	for _, l := range p.Lines {
		for _, v := range l.Values {
			if v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if p.Log {
		return logScale(least, most, tick)
	}
	return scale(most*1.02, tick)
}

// minutes returns ticks for a run of a length, some ten of them.
func minutes(length time.Duration) []plot.Tick {
	step := 5 * time.Second
	for _, s := range []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour} {
		if length/step > 12 {
			step = s
		}
	}
	var ticks []plot.Tick
	for at := time.Duration(0); at <= length; at += step {
		label := trim(at.Minutes())
		if step < time.Minute {
			label = fmt.Sprintf("%d:%02d", int(at.Minutes()), int(at.Seconds())%60)
		}
		ticks = append(ticks, plot.Tick{Value: at.Minutes(), Label: label})
	}
	return ticks
}

// spans shades times.
type spans []Span

// Plot implements [plot.Plotter].
func (s spans) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, span := range s {
		fill(c, vg.Rectangle{
			Min: vg.Point{X: x(span.From.Minutes()), Y: c.Min.Y},
			Max: vg.Point{X: x(span.Till.Minutes()), Y: c.Max.Y},
		}, shade)
	}
}

// curves draws lines.
type curves struct {
	at    []time.Duration
	lines []Line
}

// Plot implements [plot.Plotter].
func (d curves) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	_, logarithmic := p.Y.Scale.(plot.LogScale)
	for i, l := range d.lines {
		var run []vg.Point
		stroke := func() {
			if len(run) == 1 { // a dot
				run = []vg.Point{{X: run[0].X - 0.7, Y: run[0].Y}, {X: run[0].X + 0.7, Y: run[0].Y}}
			}
			c.StrokeLines(line(1.4, series(i)), run)
			run = nil
		}
		for j, v := range l.Values {
			if math.IsNaN(v) || logarithmic && v <= 0 {
				stroke()
				continue
			}
			run = append(run, vg.Point{X: x(d.at[j].Minutes()), Y: y(v)})
		}
		stroke()
	}
}
