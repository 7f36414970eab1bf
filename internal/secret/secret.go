// Package secret has the type of what must not be printed, however it gets into a log or an error.
package secret

import (
	"fmt"
	"io"
)

// String is a password or a key. Whatever prints, logs or encodes it shows a placeholder; a conversion to string tells.
type String string

const hidden = "(secret)"

// Format implements [fmt.Formatter], for every verb.
func (String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements [encoding.TextMarshaler], which package log/slog uses too.
func (String) MarshalText() ([]byte, error) { return []byte(hidden), nil }
