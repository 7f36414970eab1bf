package gateway

import (
	"bytes"
	"fmt"
	"strconv"
)

// mark stands on both sides of a message's number.
var mark = []byte("@@")

// textOf is the content of a message, a hundred bytes of it.
func textOf(number int64) string {
	return fmt.Sprintf("%-100s", fmt.Sprintf("%s%d%s The quick brown fox jumps over the lazy dog.", mark, number, mark))
}

// numberIn returns the number of the message that a text carries.
func numberIn(text []byte) (number int64, found bool) {
	_, after, found := bytes.Cut(text, mark)
	digits, _, closed := bytes.Cut(after, mark)
	if !found || !closed {
		return 0, false
	}
	number, err := strconv.ParseInt(string(digits), 10, 64)
	return number, err == nil
}
