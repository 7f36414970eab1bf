package web

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheReadmeHasAllThatCanBeSet looks for each element, event, attribute and custom property in the manual.
func TestTheReadmeHasAllThatCanBeSet(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("\"(headway-[a-z]+)\"|(--headway-[a-z-]+)|observedAttributes = \\[([^\\]]+)\\]")
	found := 0
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(path, "elements") {
			return err
		}
		source, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range names.FindAllStringSubmatch(string(source), -1) {
			for name := range strings.SplitSeq(match[1]+match[2]+match[3], ", ") {
				found++
				if name = strings.Trim(name, `"`); !regexp.MustCompile("[`<]?" + name + "[`>:]").Match(manual) {
					t.Errorf("%s has %s, and the manual has not", path, name)
				}
			}
		}
		return nil
	})
	if err != nil || found < 20 {
		t.Errorf("%d names: %v", found, err)
	}
}
