package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// Identity is who is acting, and until when.
type Identity struct {
	UserID  int64
	Expires time.Time
}

// Verifier checks tokens (RFC 7519) issued by the application's backend: sub is the id in headway.appuser, exp is
// required, aud is checked. The kind of key determines the algorithms, so that no token chooses its own.
type Verifier struct {
	parser *jwt.Parser
	key    jwt.Keyfunc
}

// MinSecret is the minimum length of an HS256 key in bytes (RFC 7518, section 3.2).
const MinSecret = 32

// NewVerifier accepts HS256 tokens made with a secret or, if jwks names a file with a JSON Web Key Set (RFC 7517),
// RS256 and EdDSA tokens made with those keys. One of the two is required. now is the clock; nil: the real one.
func NewVerifier(secret []byte, jwks, audience string, now func() time.Time) (*Verifier, error) {
	v := &Verifier{}
	var methods []string
	switch {
	case len(secret) > 0 && jwks != "":
		return nil, errors.New("tokens are checked with a secret or with a key set, not with both")
	case jwks != "":
		text, err := os.ReadFile(jwks)
		if err != nil {
			return nil, fmt.Errorf("read the key set: %w", err)
		}
		keys, err := keyfunc.NewJWKSetJSON(text)
		if err != nil {
			return nil, fmt.Errorf("read the key set %s: %w", jwks, err)
		}
		if err := usable(keys); err != nil {
			return nil, fmt.Errorf("the key set %s: %w", jwks, err)
		}
		v.key = keys.Keyfunc
		methods = []string{jwt.SigningMethodRS256.Alg(), jwt.SigningMethodEdDSA.Alg()}
	case len(secret) >= MinSecret:
		v.key = func(*jwt.Token) (any, error) { return secret, nil }
		methods = []string{jwt.SigningMethodHS256.Alg()}
	default:
		return nil, fmt.Errorf("the secret has %d bytes, want %d or more", len(secret), MinSecret)
	}
	options := []jwt.ParserOption{jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithAudience(audience)}
	if now != nil {
		options = append(options, jwt.WithTimeFunc(now))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// usable returns an error unless a key set has a key for one of the accepted algorithms.
func usable(keys keyfunc.Keyfunc) error {
	known, err := keys.Storage().KeyReadAll(context.Background()) // it is in memory
	if err != nil {
		return err
	}
	for _, k := range known {
		switch k.Key().(type) {
		case *rsa.PublicKey, *rsa.PrivateKey, ed25519.PublicKey, ed25519.PrivateKey:
			return nil
		}
	}
	return errors.New("it has no RSA or Ed25519 key, and tokens are signed with RS256 or EdDSA")
}

// Verify returns who a token speaks for. The error does not contain the token.
func (v *Verifier) Verify(token string) (Identity, error) {
	var claims jwt.RegisteredClaims
	if _, err := v.parser.ParseWithClaims(token, &claims, v.key); err != nil {
		return Identity{}, fmt.Errorf("token: %w", err)
	}
	id, err := strconv.ParseInt(claims.Subject, 10, 64)
	if err != nil || id < 1 {
		return Identity{}, errors.New("token: sub is not the id of a person: want a positive whole number")
	}
	return Identity{UserID: id, Expires: claims.ExpiresAt.Time}, nil
}
