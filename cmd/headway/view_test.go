package main

import (
	"strings"
	"testing"

	"headway/internal/bar"
	"headway/internal/live"
)

// TestALongProjectNameLeavesRoomForWhatIsSaid shows the same message in a narrow terminal and on a line of its own.
func TestALongProjectNameLeavesRoomForWhatIsSaid(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("Website relaunch ", 10)
	said := "The logo is ready"
	board := &live.Board{
		Projects: []*live.Project{{ID: 1, Name: name}, {ID: 2, Name: "Shop"}},
		Recent: []live.Message{
			{ProjectID: 1, Kind: "chat", SenderName: "Bob", Content: &said},
			{Channel: strings.Repeat("review", 10), Kind: "chat", SenderName: "Bob", Content: &said},
		},
	}
	v := &view{}
	for _, line := range v.feed(board, 80, 2) {
		if !strings.HasSuffix(line, "Bob: The logo is ready") || bar.Width(line) > 80 {
			t.Errorf("%q", line)
		}
	}
	var out strings.Builder
	v.out = &out
	v.plain(board, live.Event{Kind: live.Said, Message: board.Recent[0]})
	if !strings.Contains(out.String(), strings.TrimSpace(name)+"  Bob: The logo is ready") {
		t.Errorf("%q", &out)
	}
}
