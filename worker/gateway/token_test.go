package gateway

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"headway/internal/gatewaytest"
)

// claims are those of a token that is good.
func claims(change ...func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "2", "aud": "headway", "exp": time.Now().Add(time.Hour).Unix()}
	for _, f := range change {
		f(c)
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = "one"
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestATokenSaysWhoAndUntilWhen(t *testing.T) {
	t.Parallel()
	v, err := NewVerifier([]byte(gatewaytest.Secret), "", "headway", nil)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := v.Verify(sign(t, jwt.SigningMethodHS256, []byte(gatewaytest.Secret), claims()))
	if err != nil || identity.UserID != 2 || time.Until(identity.Expires) < 50*time.Minute {
		t.Errorf("%+v, %v", identity, err)
	}
	for what, change := range map[string]func(jwt.MapClaims){
		"expired":             func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Second).Unix() },
		"without an end":      func(c jwt.MapClaims) { delete(c, "exp") },
		"for another service": func(c jwt.MapClaims) { c["aud"] = "shop" },
		"for no service":      func(c jwt.MapClaims) { delete(c, "aud") },
		"not yet valid":       func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Hour).Unix() },
		"for nobody":          func(c jwt.MapClaims) { delete(c, "sub") },
		"for a name":          func(c jwt.MapClaims) { c["sub"] = "bob" },
		"for number 0":        func(c jwt.MapClaims) { c["sub"] = "0" },
		"for a negative":      func(c jwt.MapClaims) { c["sub"] = "-2" },
		"for too large a one": func(c jwt.MapClaims) { c["sub"] = "9223372036854775808" },
	} {
		text := sign(t, jwt.SigningMethodHS256, []byte(gatewaytest.Secret), claims(change))
		if identity, err := v.Verify(text); err == nil {
			t.Errorf("%s: taken as %+v", what, identity)
		} else if strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error has the token in it: %v", what, err)
		}
	}
}

// TestTheAPISaysWhyATokenIsNotValid has tokens as a backend makes them that is not set up like the gateway.
func TestTheAPISaysWhyATokenIsNotValid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := []byte(strings.Repeat("k", MinSecret))
	for want, token := range map[string]string{
		"signature is invalid": sign(t, jwt.SigningMethodHS256, other, claims()),
		"invalid audience": sign(t, jwt.SigningMethodHS256, []byte(gatewaytest.Secret),
			claims(func(c jwt.MapClaims) { c["aud"] = "another" })),
		"expired": gatewaytest.Token(t, 2, time.Now().Add(-time.Hour)),
	} {
		status, _, answer := b.askWith(t, token, "GET", "/api/snapshot", "")
		if status != http.StatusUnauthorized || !strings.Contains(string(answer), want) {
			t.Errorf("%d, %s: want %s", status, answer, want)
		}
	}
}

func TestNoTokenChoosesItsOwnAlgorithm(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	// The first key does not say which algorithm it is for, which is optional.
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "kid": "one", "use": "sig", "n": encode(rsaKey.N.Bytes()), "e": encode(big.NewInt(int64(rsaKey.E)).Bytes())},
		{"kty": "OKP", "kid": "two", "alg": "EdDSA", "use": "sig", "crv": "Ed25519", "x": encode(public)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	withKeys, err := NewVerifier(nil, file, "headway", nil)
	if err != nil {
		t.Fatal(err)
	}
	withSecret, err := NewVerifier([]byte(gatewaytest.Secret), "", "headway", nil)
	if err != nil {
		t.Fatal(err)
	}

	byRSA := sign(t, jwt.SigningMethodRS256, rsaKey, claims())
	byEdDSA := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims())
	byEdDSA.Header["kid"] = "two"
	byEd, err := byEdDSA.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{byRSA, byEd} {
		if _, err := withKeys.Verify(good); err != nil {
			t.Errorf("a good token is refused: %v", err)
		}
		if _, err := withSecret.Verify(good); err == nil {
			t.Error("a verifier with a secret takes a token that was signed with a key")
		}
	}

	// The public key, which everybody has, taken for a secret.
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"signed with the public key as a secret": sign(t, jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), claims()),
		"not signed":                             sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims()),
		"signed with another algorithm":          sign(t, jwt.SigningMethodPS256, rsaKey, claims()),
		"signed with the secret, but HS512":      sign(t, jwt.SigningMethodHS512, []byte(gatewaytest.Secret), claims()),
		"signed with another secret":             sign(t, jwt.SigningMethodHS256, []byte("another secret of thirty-two bytes"), claims()),
	} {
		for verifier, v := range map[string]*Verifier{"keys": withKeys, "secret": withSecret} {
			if _, err := v.Verify(text); err == nil {
				t.Errorf("%s: taken by the verifier with a %s", what, verifier)
			}
		}
	}
}

func TestAVerifierNeedsOneGoodKey(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"keys": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(name, keys string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(`{"keys": [`+keys+`]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for what, c := range map[string]struct {
		secret, jwks string
	}{
		"a set of none":         {jwks: set("none.json", "")},
		"a set of another kind": {jwks: set("ec.json", `{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`)},
		"a set of a secret":     {jwks: set("oct.json", `{"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA"}`)},
		"no key":                {},
		"a short secret":        {secret: "short"},
		"both":                  {secret: gatewaytest.Secret, jwks: broken},
		"no file":               {jwks: filepath.Join(t.TempDir(), "none.json")},
		"not a set of any":      {jwks: broken},
	} {
		if _, err := NewVerifier([]byte(c.secret), c.jwks, "headway", nil); err == nil {
			t.Errorf("%s is enough", what)
		} else if c.secret != "" && strings.Contains(err.Error(), c.secret) {
			t.Errorf("%s: the error has the secret in it: %v", what, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("")
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiIyIn0.")
	f.Add("a.b.c")
	v, err := NewVerifier([]byte(gatewaytest.Secret), "", "headway", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if identity, err := v.Verify(token); err == nil {
			t.Errorf("%q is taken as %+v", token, identity)
		}
	})
}
