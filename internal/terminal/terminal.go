// Package terminal redraws lines in place on a terminal.
//
// What the lines say belongs elsewhere; this package only knows how many there are and how wide.
package terminal

import (
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"headway/internal/bar"
)

// Of returns the terminal that w writes to; nil if it is none, or one that cannot move its cursor.
func Of(w io.Writer, getenv func(string) string) *os.File {
	file, ok := w.(*os.File)
	if !ok || getenv("TERM") == "dumb" {
		return nil
	}
	if _, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err != nil {
		return nil
	}
	return file
}

// Palette returns the colours to use: none unless it is a terminal, or if NO_COLOR is set (no-color.org).
func Palette(terminal *os.File, getenv func(string) string) bar.Palette {
	return bar.Palette{Color: terminal != nil && getenv("NO_COLOR") == ""}
}

// Size returns columns and lines; 80 and 24 if the terminal does not say.
func Size(terminal *os.File) (columns, lines int) {
	size, err := unix.IoctlGetWinsize(int(terminal.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// Block is some lines below everything printed so far, or a screen of its own, redrawn in place. Its methods may be
// called concurrently.
type Block struct {
	to      *os.File
	screen  bool // a screen of its own
	resized chan os.Signal
	restore func()

	mu       sync.Mutex
	widths   []int  // of the lines on display
	text     string // what was last printed above them
	overflow bool   // some of them have scrolled off the top of the screen
	columns  int    // when they were drawn
	rows     int
	closed   bool
}

// NewBlock takes over the terminal: the cursor is hidden and typing is not echoed. screen asks for a screen of its own,
// which disappears on closing. The caller must call [Block.Close].
func NewBlock(to *os.File, screen bool) *Block {
	b := &Block{to: to, screen: screen, resized: make(chan os.Signal, 1), restore: silence()}
	signal.Notify(b.resized, syscall.SIGWINCH)
	start := "\x1b[?25l" // hide the cursor
	if screen {
		start = "\x1b[?1049h" + start + "\x1b[2J"
	}
	_, _ = io.WriteString(to, start)
	return b
}

// Resized receives when the size has changed and the block should be redrawn.
func (b *Block) Resized() <-chan os.Signal { return b.resized }

// Size returns how many columns and lines a block may have. The last column stays free: terminals differ in what they
// do there.
func (b *Block) Size() (columns, lines int) {
	columns, lines = Size(b.to)
	return max(columns-1, 1), lines
}

// Draw replaces the lines on display.
func (b *Block) Draw(lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw("", lines)
}

// Print puts text above the block, permanently, and redraws the block below it. Lines of the text may be of any length.
func (b *Block) Print(text string, lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw(strings.TrimSuffix(text, "\n")+"\n", lines)
}

// draw writes everything at once, so that no intermediate state is seen.
func (b *Block) draw(text string, lines []string) {
	if b.closed {
		return
	}
	var out strings.Builder
	text = b.home(&out, text)
	if text != "" {
		out.WriteString("\x1b[J" + strings.ReplaceAll(text, "\n", "\r\n"))
	}
	out.WriteString("\x1b[?7l") // a line that is wider than it looks must not wrap
	for i, line := range lines {
		if i > 0 {
			out.WriteString("\r\n")
		}
		out.WriteString("\x1b[2K" + line)
	}
	out.WriteString("\x1b[?7h\x1b[J")
	_, _ = io.WriteString(b.to, out.String())

	b.widths = b.widths[:0]
	for _, line := range lines {
		b.widths = append(b.widths, bar.Width(line))
	}
}

// home moves to the start of the block, and returns the text to print above it. If the terminal has become narrower in
// the meantime, it has wrapped the lines. If it has become so small that some have scrolled off, they may come back
// when it grows, so everything starts over on a clear screen.
func (b *Block) home(out *strings.Builder, text string) string {
	if b.screen {
		out.WriteString("\x1b[H")
		return text
	}
	columns, rows := Size(b.to)
	resized := columns != b.columns || rows != b.rows
	b.columns, b.rows = columns, rows
	up := 0
	for _, width := range b.widths {
		up += max(1, (width+columns-1)/columns)
	}
	if text != "" {
		b.text = text
	}
	if resized && (up > rows || b.overflow) {
		b.overflow = up > rows
		out.WriteString("\x1b[H\x1b[2J")
		return b.text
	}
	out.WriteString("\r")
	if up > 1 {
		out.WriteString("\x1b[" + strconv.Itoa(up-1) + "A")
	}
	return text
}

// Close gives the terminal back. A block stays where it is, with the cursor below it; a screen of its own leaves the
// given lines behind. It may be called again.
func (b *Block) Close(last []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if !b.screen {
		b.draw("", last)
		_, _ = io.WriteString(b.to, "\r\n\x1b[?25h")
	} else {
		_, _ = io.WriteString(b.to, "\x1b[?25h\x1b[?1049l"+strings.Join(append(last, ""), "\r\n"))
	}
	b.closed = true
	signal.Stop(b.resized)
	b.restore()
}

// silence turns off echo on the terminal that is typed on, and returns what turns it on again. Ctrl-C keeps working.
func silence() (restore func()) {
	fd := int(os.Stdin.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return func() {}
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(fd, setTermios, &quiet) // it is then shown
	return func() { _ = unix.IoctlSetTermios(fd, setTermiosFlush, before) }
}
