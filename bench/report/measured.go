package report

import (
	"bytes"
	"fmt"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// measured is a canvas whose texts are as wide as they were measured to be, in whatever font a reader has.
type measured struct {
	*vgsvg.Canvas
	widths []vg.Length // of the texts, in order
}

// FillString implements [vg.Canvas].
func (m *measured) FillString(face font.Face, at vg.Point, text string) {
	m.widths = append(m.widths, face.Width(text))
	m.Canvas.FillString(face, at, text)
}

// bytes returns the picture.
func (m *measured) bytes() ([]byte, error) {
	var drawn bytes.Buffer
	if _, err := m.WriteTo(&drawn); err != nil {
		return nil, fmt.Errorf("write the svg: %w", err)
	}
	const begin = "<text "
	parts := bytes.Split(drawn.Bytes(), []byte(begin))
	out := parts[0]
	for i, part := range parts[1:] {
		out = fmt.Appendf(out, `%slengthAdjust="spacingAndGlyphs" textLength="%.1f" `, begin, m.widths[i].Points())
		out = append(out, part...)
	}
	// Few have Liberation; Arial and Helvetica are as wide.
	fonts := []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")
	return bytes.ReplaceAll(out, []byte("font-family:Liberation Sans;"), fonts), nil
}
