package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what comes out now into testdata")

// sample is a document with one of everything.
func sample() Document {
	run := Lines{
		File: "sample-lines.svg", Title: "Ten minutes", Note: "One sample a second.",
		Spans: []Span{{"a transaction is left open", 4 * time.Minute, 5 * time.Minute}},
	}
	rate, facts, dead := Line{}, Line{Name: "waiting"}, Line{Name: "dead"}
	for i := range 601 {
		t := float64(i)
		run.At = append(run.At, time.Duration(i)*time.Second)
		rate.Values = append(rate.Values, 4000+200*math.Sin(t/7))
		facts.Values = append(facts.Values, 40+20*math.Sin(t/3))
		d := math.Mod(t, 20) * 300
		if i > 240 && i < 300 {
			d = (t - 240) * 4000
		}
		if i == 500 {
			d = math.NaN()
		}
		dead.Values = append(dead.Values, d)
	}
	run.Panels = []Panel{
		{Title: "Completions a second", Lines: []Line{rate}},
		{Title: "Facts in the queue", Log: true, Lines: []Line{facts, dead}},
	}
	return Document{
		Title:      "Sample",
		Lead:       "What a page looks like.",
		Command:    "go run ./sample",
		Conditions: []Condition{{"PostgreSQL", "15.14"}, {"cores", "2"}},
		Sections: []Section{
			{"Ratios", []Part{
				Bars{
					File: "sample-bars.svg", Title: "Completions a second, as a ratio to the bare insert",
					Note:   "32 clients; higher is better. The dashed line is the goal.",
					Series: []string{"spread over 100 projects", "all in one"},
					Groups: []Group{
						{Name: "recount in a trigger", Values: []float64{0.02, math.NaN()}},
						{Name: "a job queue, one job each", Values: []float64{0.29, 0.31}},
						{Name: "headway", Values: []float64{0.57, 0.61}, Ours: true},
					},
					Goal: 0.5, Format: Ratio,
				},
				Table{
					Columns: []Column{Text("way"), Number("a second"), Number("ratio")},
					Rows:    [][]string{{"bare | plain", Count(12345), Ratio(1)}, {"headway", Count(7037)}},
				},
			}},
			{"Goals", []Part{
				Goals([]Goal{
					{"p50", Duration(1800 * time.Microsecond), "under 2 ms", true},
					{"p99", Duration(12 * time.Millisecond), "under 8 ms", false},
				}),
				Prose("\nThat is all.\n"),
				run,
			}},
		},
	}
}

func TestDocumentIsWrittenWhole(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "sample.md")
	if err := sample().Write(page); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "sample.md")
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the page is\n%s\nrather than\n%s", got, want)
	}

	for file, labels := range map[string][]string{
		"sample-bars.svg": {
			"Completions a second, as a ratio to the bare insert", "spread over 100 projects", "all in one",
			"recount in a trigger", "a job queue, one job each", "headway", "0.57", "0.61", "0.31", Missing,
		},
		"sample-lines.svg": {
			"Ten minutes", "Completions a second", "Facts in the queue", "waiting", "dead", "10,000",
			"a transaction is left open", "minutes since the beginning", "10",
		},
	} {
		got := texts(t, filepath.Join(filepath.Dir(page), file))
		for _, want := range labels {
			if !slices.Contains(got, want) {
				t.Errorf("%s does not say %q, but %q", file, want, got)
			}
		}
	}
}

// texts returns what a chart says. It fails unless the chart is well-formed.
func texts(t *testing.T, path string) (all []string) {
	t.Helper()
	chart, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer chart.Close()
	for decoder, inText := xml.NewDecoder(chart), false; ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
		case xml.CharData:
			if inText {
				all = append(all, string(token))
			}
		case xml.EndElement:
			inText = false
		}
	}
}

func TestAChartRefusesValuesThatDoNotFit(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]Part{
		"bars":  Bars{File: "bars.svg", Series: []string{"one"}, Groups: []Group{{Name: "two", Values: []float64{1, 2}}}, Format: Ratio},
		"lines": Lines{File: "lines.svg", At: []time.Duration{0}, Panels: []Panel{{Lines: []Line{{Values: []float64{1, 2}}}}}},
	} {
		if err := (Document{Sections: []Section{{Parts: []Part{part}}}}).Write(filepath.Join(t.TempDir(), "page.md")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	twice := Bars{File: "bars.svg", Series: []string{"one"}, Format: Ratio}
	err := Document{Sections: []Section{{Parts: []Part{twice, twice}}}}.Write(filepath.Join(t.TempDir(), "page.md"))
	if err == nil || !strings.Contains(err.Error(), "two files") {
		t.Errorf("one file for two charts: %v", err)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		Count(0):                             "0",
		Count(999.6):                         "1,000",
		Count(-1234567):                      "-1,234,567",
		Count(math.NaN()):                    Missing,
		Ratio(0.456):                         "0.46",
		Ratio(math.Inf(1)):                   Missing,
		Bytes(math.NaN()):                    Missing,
		Bytes(950_000):                       "950 kB",
		Bytes(1_860_000):                     "1.9 MB",
		Bytes(18_200_000):                    "18 MB",
		Bytes(2_100_000_000):                 "2.1 GB",
		Duration(47 * time.Microsecond):      "0.05 ms",
		Duration(4_700 * time.Microsecond):   "4.7 ms",
		Duration(22_400 * time.Microsecond):  "22 ms",
		Duration(1_240 * time.Millisecond):   "1.2 s",
		Duration(612_000 * time.Millisecond): "612 s",
		Duration(-3_000 * time.Microsecond):  "-3.00 ms",
		Duration(99_940 * time.Millisecond):  "99.9 s",
		Duration(999_400 * time.Microsecond): "999 ms",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestScalesHoldWhatTheyShow(t *testing.T) {
	t.Parallel()
	for _, limit := range []float64{0, 0.03, 0.61, 1, 7, 99, 101, 4200, 1e6} {
		ticks := scale(limit, tick)
		last := ticks[len(ticks)-1].Value
		if ticks[0].Value != 0 || last < limit || len(ticks) < 3 || len(ticks) > 9 {
			t.Errorf("scale to %v: %v", limit, ticks)
		}
	}
	for _, span := range [][2]float64{{0.2, 3000}, {1, 1}, {math.Inf(1), 0}, {10, 10}} {
		ticks := logScale(span[0], span[1], tick)
		if len(ticks) < 2 || ticks[0].Value <= 0 || span[1] > 0 && (ticks[0].Value > span[0] || ticks[len(ticks)-1].Value < span[1]) {
			t.Errorf("logarithmic scale from %v to %v: %v", span[0], span[1], ticks)
		}
	}
}
