package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// demoTokens is the part that headway leaves to the application: who somebody is. In the demo, whoever they say.
type demoTokens struct {
	secret string // for this run
	people []demoPerson
}

// demoPerson is somebody that the page offers to act as.
type demoPerson struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
}

// handlers serve the page's choice of people and their tokens.
func (d *demoTokens) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /page.json":   http.HandlerFunc(d.servePage),
		"POST /demo/token": http.HandlerFunc(d.serveToken),
	}
}

func (d *demoTokens) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"people": d.people, "token_url": "demo/token"})
}

// serveToken mints a token, as an application's backend does for whoever is signed in there.
func (d *demoTokens) serveToken(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		UserID int64 `json:"user_id"`
	}
	// The type keeps other sites out: to send it, a browser needs a preflight request, which is not answered.
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "send JSON", http.StatusUnsupportedMediaType)
		return
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1000)).Decode(&asked); err != nil {
		http.Error(w, `want {"user_id": 2}`, http.StatusBadRequest)
		return
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   fmt.Sprint(asked.UserID),
		Audience:  jwt.ClaimStrings{"headway"},
		ExpiresAt: jwt.NewNumericDate(time.Now().Add(15 * time.Minute)),
	}).SignedString([]byte(d.secret))
	if err != nil {
		http.Error(w, "could not make a token", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
}

// demoPort is where the page is, if it is free: an address that is easy to remember.
const demoPort = "8137"

// listenForPage listens on this machine only.
func listenForPage() (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", demoPort))
	if err == nil {
		return listener, nil
	}
	anywhere, err2 := net.Listen("tcp", "127.0.0.1:0")
	if err2 != nil {
		return nil, errors.Join(err, err2)
	}
	return anywhere, nil
}
