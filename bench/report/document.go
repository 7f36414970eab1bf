// Package report writes what a benchmark measured: a page of Markdown and the charts it shows, drawn as SVG.
//
// A page is written whole by the program that measured, from a [Document]: nobody edits it by hand, and whoever repeats
// the command gets the same page with their own figures. Charts have a background of their own, so that they read the
// same on a light and on a dark page.
//
// How something is measured, and what is a good figure, does not belong here.
package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Document is a page. It opens with how to repeat it and under what conditions it was made.
type Document struct {
	Title string
	// Lead says in a paragraph of Markdown what the page is about.
	Lead string
	// Command is what writes this page anew, from the root of the repository.
	Command    string
	Conditions []Condition
	Sections   []Section
}

// Condition is something that the figures depend on: {"PostgreSQL", "15.14, stock settings"}.
type Condition struct{ Name, Value string }

// Section is a heading and what stands below it.
type Section struct {
	Title string
	Parts []Part
}

// Part is a [Prose], [Table], [Bars] or [Lines].
type Part interface {
	// markdown returns the part as a block of Markdown, without a newline at its end.
	markdown() string
	// charts returns the pictures the block refers to, by file name.
	charts() (map[string][]byte, error)
}

// Prose is a block of Markdown: a paragraph, a list.
type Prose string

func (p Prose) markdown() string { return strings.TrimSpace(string(p)) }

func (Prose) charts() (map[string][]byte, error) { return nil, nil }

// Markdown returns the page.
func (d Document) Markdown() string {
	blocks := []string{"# " + d.Title, d.Lead}
	if d.Command != "" {
		blocks = append(blocks, fmt.Sprintf("`%s` measures all of this again and writes this page.", d.Command))
	}
	if len(d.Conditions) > 0 {
		conditions := Table{Columns: []Column{Text("condition"), Text("here")}}
		for _, c := range d.Conditions {
			conditions.Rows = append(conditions.Rows, []string{c.Name, c.Value})
		}
		blocks = append(blocks, conditions.markdown())
	}
	for _, s := range d.Sections {
		blocks = append(blocks, "## "+s.Title)
		for _, p := range s.Parts {
			blocks = append(blocks, p.markdown())
		}
	}
	return strings.Join(blocks, "\n\n") + "\n"
}

// Write writes the page, and its charts into the same directory.
func (d Document) Write(path string) error {
	files := map[string][]byte{filepath.Base(path): []byte(d.Markdown())}
	for _, s := range d.Sections {
		for _, p := range s.Parts {
			charts, err := p.charts()
			if err != nil {
				return fmt.Errorf("draw a chart of %q: %w", s.Title, err)
			}
			for name, chart := range charts {
				if _, taken := files[name]; taken {
					return fmt.Errorf("draw a chart of %q: there are two files %q", s.Title, name)
				}
				files[name] = chart
			}
		}
	}
	var errs []error
	for name, content := range files {
		errs = append(errs, os.WriteFile(filepath.Join(filepath.Dir(path), name), content, 0o644))
	}
	return errors.Join(errs...)
}
