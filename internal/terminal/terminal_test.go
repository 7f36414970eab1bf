package terminal

import (
	"bufio"
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// emulator is a terminal as far as a block uses one.
type emulator struct {
	t    *testing.T
	tty  *os.File // its end
	file *os.File // the program's end

	columns  int
	lines    [][]rune
	row, col int
	cut      bool // lines that are too long are cut, rather than wrapped
	hidden   bool // the cursor
	other    bool // the other screen is shown
}

func newEmulator(t *testing.T, columns, rows int) *emulator {
	t.Helper()
	tty, file, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close(); _ = file.Close() })
	e := &emulator{t: t, tty: tty, file: file}
	e.resize(columns, rows)
	return e
}

func (e *emulator) resize(columns, rows int) {
	e.t.Helper()
	if err := pty.Setsize(e.tty, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		e.t.Fatal(err)
	}
	e.columns = columns
}

var sequence = regexp.MustCompile("^\x1b\\[(\\??[0-9;]*)([a-zA-Z])")

// shows obeys what was written and returns the screen as it is then.
func (e *emulator) shows() string {
	e.t.Helper()
	const mark = "\x00"
	if _, err := e.file.WriteString(mark); err != nil {
		e.t.Fatal(err)
	}
	var written []byte
	if err := e.tty.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		e.t.Fatal(err)
	}
	for buffer := make([]byte, 4096); !bytes.HasSuffix(written, []byte(mark)); {
		n, err := e.tty.Read(buffer)
		if err != nil {
			e.t.Fatal(err)
		}
		written = append(written, buffer[:n]...)
	}
	e.obey(strings.TrimSuffix(string(written), mark))

	var screen []string
	for _, line := range e.lines {
		screen = append(screen, strings.TrimRight(string(line), " "))
	}
	return strings.TrimRight(strings.Join(screen, "\n"), "\n")
}

func (e *emulator) obey(s string) {
	for s != "" {
		for len(e.lines) <= e.row {
			e.lines = append(e.lines, nil)
		}
		if match := sequence.FindStringSubmatch(s); match != nil {
			e.command(match[1], match[2])
			s = s[len(match[0]):]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		switch r {
		case '\r':
			e.col = 0
		case '\n':
			e.row++
		default:
			if e.col == e.columns && e.cut {
				e.col--
			} else if e.col == e.columns {
				e.row, e.col = e.row+1, 0
				e.lines = append(e.lines[:e.row], append([][]rune{nil}, e.lines[e.row:]...)...)
			}
			line := e.lines[e.row]
			for len(line) <= e.col {
				line = append(line, ' ')
			}
			line[e.col] = r
			e.lines[e.row] = line
			e.col++
		}
	}
}

func (e *emulator) command(parameter, name string) {
	n, _ := strconv.Atoi(parameter)
	switch parameter + name {
	case "?25l", "?25h":
		e.hidden = name == "l"
	case "?1049h": // the cursor stays where it is
		e.other, e.lines = true, nil
	case "?1049l":
		e.other = false
		e.lines, e.row, e.col = nil, 0, 0
	case "?7l", "?7h":
		e.cut = name == "l"
	case "2K":
		e.lines[e.row] = nil
	case "J":
		e.lines = e.lines[:e.row+1]
		e.lines[e.row] = e.lines[e.row][:min(e.col, len(e.lines[e.row]))]
	case "2J":
		e.lines = nil
	case "H":
		e.row, e.col = 0, 0
	default:
		if name != "A" || n < 1 {
			e.t.Errorf("what is %q?", parameter+name)
		}
		if e.row -= n; e.row < 0 {
			e.t.Errorf("the cursor leaves the screen by %d", -e.row)
			e.row = 0
		}
	}
}

func (e *emulator) expect(want string) {
	e.t.Helper()
	if got := e.shows(); got != want {
		e.t.Errorf("the screen is\n%s\n\nwant\n%s", got, want)
	}
}

func TestABlockIsRedrawnWhereItStands(t *testing.T) {
	e := newEmulator(t, 40, 20)
	e.obey("before\r\n")
	b := NewBlock(e.file, false)
	b.Draw([]string{"one", "two", "three"})
	e.expect("before\none\ntwo\nthree")
	if !e.hidden {
		t.Error("the cursor is shown")
	}
	b.Draw([]string{"1", "2", "3"})
	e.expect("before\n1\n2\n3")
	b.Draw([]string{"fewer"})
	e.expect("before\nfewer")
	b.Draw([]string{"and", "more"})
	e.expect("before\nand\nmore")
	b.Print("said\n\nfor good\n", []string{"below", "it"})
	e.expect("before\nsaid\n\nfor good\nbelow\nit")
	b.Draw([]string{"below", "that"})
	e.expect("before\nsaid\n\nfor good\nbelow\nthat")
	b.Close([]string{"the", "end"})
	b.Close([]string{"twice"})
	b.Draw([]string{"too late"})
	e.expect("before\nsaid\n\nfor good\nthe\nend")
	if e.hidden || e.col != 0 || e.row != 6 {
		t.Errorf("the cursor is hidden or not below the block: row %d, column %d", e.row, e.col)
	}
}

func TestABlockFindsItsBeginningWhereLinesWereWrapped(t *testing.T) {
	e := newEmulator(t, 40, 20)
	b := NewBlock(e.file, false)
	defer b.Close(nil)
	b.Draw([]string{strings.Repeat("x", 39), "short"})
	e.shows()

	// The terminal becomes narrower and wraps what stands there.
	e.resize(20, 20)
	e.lines = [][]rune{[]rune(strings.Repeat("x", 20)), []rune(strings.Repeat("x", 19)), []rune("short")}
	e.row, e.col = 2, 5
	b.Draw([]string{"narrow", "short"})
	e.expect("narrow\nshort")
}

func TestABlockThatLeftTheScreenBeginsAgain(t *testing.T) {
	e := newEmulator(t, 40, 20)
	b := NewBlock(e.file, false)
	defer b.Close(nil)
	b.Print("keep this", []string{"1", "2", "3", "4", "5"})
	e.expect("keep this\n1\n2\n3\n4\n5")
	e.resize(40, 4)
	b.Draw([]string{"a", "b"})
	e.expect("keep this\na\nb")
	b.Draw([]string{"a", "c"})
	e.expect("keep this\na\nc")
	e.resize(40, 20)
	// The terminal shows again what had left it.
	e.lines, e.row = append([][]rune{[]rune("1"), []rune("2")}, e.lines...), e.row+2
	b.Draw([]string{"A", "B", "C"})
	e.expect("keep this\nA\nB\nC")
	b.Draw([]string{"D"})
	e.expect("keep this\nD")
}

// TestOnlyWhatIsForGoodIsWrapped has a line be wider than it looks, as terminals disagree about some characters.
func TestOnlyWhatIsForGoodIsWrapped(t *testing.T) {
	e := newEmulator(t, 10, 20)
	b := NewBlock(e.file, false)
	defer b.Close(nil)
	wide := strings.Repeat("\u0301", 12) // no columns, by what is known of it
	b.Draw([]string{wide, "below"})
	e.expect(wide[:10*len("\u0301")] + "\nbelow")
	b.Print("said at length", []string{wide, "below it"})
	e.expect("said at le\nngth\n" + wide[:10*len("\u0301")] + "\nbelow it")
	if e.cut {
		t.Error("lines are cut from now on")
	}
}

// TestWhatIsTypedIsNotShownMeanwhile types on the terminal that it draws on.
func TestWhatIsTypedIsNotShownMeanwhile(t *testing.T) {
	e := newEmulator(t, 40, 20)
	stdin := os.Stdin
	os.Stdin = e.file
	defer func() { os.Stdin = stdin }()
	shown := func() (typed, interrupts bool) {
		t.Helper()
		mode, err := unix.IoctlGetTermios(int(e.file.Fd()), getTermios)
		if err != nil {
			t.Fatal(err)
		}
		return mode.Lflag&unix.ECHO != 0, mode.Lflag&unix.ISIG != 0
	}
	b := NewBlock(e.file, false)
	if typed, interrupts := shown(); typed || !interrupts {
		t.Errorf("what is typed is shown: %t, Ctrl-C works: %t", typed, interrupts)
	}
	press := func(keys string) {
		t.Helper()
		if _, err := e.tty.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	press("rm -r *\n")
	typed := []unix.PollFd{{Fd: int32(e.file.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(typed, 10_000); n != 1 {
		t.Fatalf("what was typed does not arrive: %v", err)
	}
	b.Close(nil)
	if typed, interrupts := shown(); !typed || !interrupts {
		t.Errorf("afterwards what is typed is shown: %t, Ctrl-C works: %t", typed, interrupts)
	}
	press("ls\n")
	if line, err := bufio.NewReader(e.file).ReadString('\n'); line != "ls\n" {
		t.Errorf("afterwards a shell reads %q, %v", line, err)
	}
}

func TestAScreenOfItsOwnGoesAndLeavesItsLastLines(t *testing.T) {
	e := newEmulator(t, 40, 20)
	e.obey("before\r\n")
	b := NewBlock(e.file, true)
	b.Draw([]string{"one", "two", "three"})
	b.Draw([]string{"1", "2"})
	e.expect("1\n2")
	if !e.other || !e.hidden {
		t.Error("it has no screen of its own, or shows the cursor there")
	}
	b.Close([]string{"last"})
	e.expect("last")
	if e.other || e.hidden {
		t.Error("it keeps the screen, or hides the cursor")
	}
}

func TestSizeLeavesTheLastColumnFree(t *testing.T) {
	e := newEmulator(t, 33, 7)
	b := NewBlock(e.file, true)
	defer b.Close(nil)
	if columns, lines := b.Size(); columns != 32 || lines != 7 {
		t.Errorf("%d, %d", columns, lines)
	}
	for _, size := range [][2]int{{0, 0}, {0, 7}, {33, 0}} {
		e.resize(size[0], size[1])
		if columns, lines := Size(e.file); columns != 80 || lines != 24 {
			t.Errorf("%v is %d, %d", size, columns, lines)
		}
	}
}

func TestABlockHearsThatTheSizeHasChanged(t *testing.T) {
	b := NewBlock(newEmulator(t, 40, 20).file, false)
	defer b.Close(nil)
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.Resized():
	case <-time.After(10 * time.Second):
		t.Error("it does not")
	}
}

func TestOnlyATerminalIsOne(t *testing.T) {
	e := newEmulator(t, 80, 24)
	getenv := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if Of(e.file, getenv(nil)) == nil || Of(e.file, getenv(map[string]string{"TERM": "dumb"})) != nil ||
		Of(null, getenv(nil)) != nil || Of(&bytes.Buffer{}, getenv(nil)) != nil {
		t.Error("it takes one for the other")
	}
	if !Palette(e.file, getenv(nil)).Color || Palette(nil, getenv(nil)).Color || Palette(e.file, getenv(map[string]string{"NO_COLOR": "1"})).Color {
		t.Error("colours are where they should not be")
	}
}
