package gateway

import (
	"bytes"
	"fmt"
	"os"
	osexec "os/exec"
	"regexp"
	"testing"

	"headway/internal/gatewaytest"
)

// TestTheManualsTokenIsAccepted mints a token with the lines of Python in the manual.
func TestTheManualsTokenIsAccepted(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(manual)
	if code == nil {
		t.Fatal("the manual has no Python")
	}
	if program, err := os.ReadFile("../../examples/python/gateway_token.py"); err != nil || !bytes.Contains(program, code[1][bytes.Index(code[1], []byte("def ")):]) {
		t.Errorf("the example has another function than the manual: %v", err)
	}
	minted, err := osexec.CommandContext(t.Context(), "python3", "-c", fmt.Sprintf("%s\nprint(token(2, %q), end='')", code[1], gatewaytest.Secret)).Output()
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := NewVerifier([]byte(gatewaytest.Secret), "", "headway", nil)
	if err != nil {
		t.Fatal(err)
	}
	if identity, err := verifier.Verify(string(minted)); err != nil || identity.UserID != 2 {
		t.Errorf("%+v, %v", identity, err)
	}
}
