package worker_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTheCatalogueIsTrue reads the table at the head of fault_test.go: its rows are numbered without a gap, each names
// tests or says why there are none, those tests exist, and every test of the catalogue's own files is in it.
func TestTheCatalogueIsTrue(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("fault_test.go")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(content), "\npackage ")
	row := regexp.MustCompile(`^//\t {0,1}(\d+)  \S`)
	named := regexp.MustCompile(`^//\t {4}(\S+_test\.go): (.+)$`)
	file := regexp.MustCompile(`^//\t {4}(\S+\.sql)$`)
	reason := regexp.MustCompile(`^//\t {4}not tested: \S`)

	rows, entries := 0, 1
	listed := map[string]bool{} // of the catalogue's own files
	for line := range strings.Lines(head) {
		line = strings.TrimRight(line, "\n")
		if match := row.FindStringSubmatch(line); match != nil {
			if entries == 0 {
				t.Errorf("row %d names no test", rows)
			}
			rows++
			entries = 0
			if match[1] != strconv.Itoa(rows) {
				t.Errorf("%q is the row after %d", line, rows-1)
			}
		} else if match := named.FindStringSubmatch(line); match != nil {
			entries++
			there := testsIn(t, filepath.Join("..", match[1]))
			for name := range strings.SplitSeq(match[2], ", ") {
				if listed[name] = true; !slices.Contains(there, name) {
					t.Errorf("row %d: there is no %s in %s", rows, name, match[1])
				}
			}
		} else if match := file.FindStringSubmatch(line); match != nil {
			entries++
			if _, err := os.Stat(filepath.Join("..", match[1])); err != nil {
				t.Errorf("row %d: %v", rows, err)
			}
		} else if reason.MatchString(line) {
			entries++
		} else if strings.HasPrefix(line, "//\t") {
			t.Errorf("row %d: %q is neither a row nor a test", rows, line)
		}
	}
	if rows == 0 || entries == 0 {
		t.Errorf("the table ends with row %d, which names %d tests", rows, entries)
	}
	for _, own := range []string{"fault_test.go", "fault_linux_test.go"} {
		for _, name := range testsIn(t, own) {
			if !listed[name] {
				t.Errorf("%s of %s is not in the table", name, own)
			}
		}
	}
}

// testsIn returns the names of the tests and fuzz targets in a file.
func testsIn(t *testing.T, path string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return nil
	}
	for _, declaration := range parsed.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if ok && function.Recv == nil && regexp.MustCompile(`^(Test|Fuzz)[A-Z]`).MatchString(function.Name.Name) {
			names = append(names, function.Name.Name)
		}
	}
	return names
}
