package gateway

import (
	"fmt"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

// TestThroughNginx has the events of both transports come through nginx, with the configuration of the examples.
func TestThroughNginx(t *testing.T) {
	t.Parallel()
	b := setup(t)
	site := nginx(t, b.server.Listener.Addr().String())
	b.server.URL = site // from here on, everything is asked of nginx

	ws, _, err := websocket.Dial(t.Context(), site+"/api/ws", &websocket.DialOptions{ //nolint:bodyclose // an upgrade has none
		HTTPHeader: http.Header{"Origin": {site}},
	})
	if err != nil {
		t.Fatalf("a page of the site may not connect: %v", err)
	}
	_ = ws.CloseNow()

	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	stream := b.listen(t, b.ticket(t, 3), "")
	stream.want("snapshot")
	// Each comes before the next is there: nothing waits for a buffer to be full.
	for i := range 5 {
		content := fmt.Sprint("number ", i)
		if status, answer := b.do(t, 1, "POST", "/api/channels/project_1/messages", fmt.Sprintf(`{"content": %q}`, content)); status != http.StatusOK {
			t.Fatal(status, answer)
		}
		if e := bob.want("message"); e.Content != content {
			t.Errorf("over the WebSocket: %+v, want %s", e, content)
		}
		if e := stream.want("message"); e.Content != content {
			t.Errorf("over Server-Sent Events: %+v, want %s", e, content)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, site+"/api/projects/1/tasks", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+gatewaytest.Token(t, 2, time.Now().Add(time.Hour)))
	request.Header.Set("Accept-Encoding", "gzip")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("a list is not compressed: %v", answer.Header)
	}
	if status, _ := b.do(t, 0, "GET", "/metrics", ""); status != http.StatusNotFound {
		t.Errorf("the world sees the metrics: %d", status)
	}
}

// nginx runs nginx in front of a gateway until the test ends, as whoever runs the test, and returns its address.
func nginx(t *testing.T, gateway string) string {
	t.Helper()
	program, err := osexec.LookPath("nginx")
	if err != nil {
		if program, err = osexec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatal("this test needs nginx, in PATH or /usr/sbin: apt install nginx-light")
		}
	}
	example, err := os.ReadFile("../../examples/nginx/headway.conf")
	if err != nil {
		t.Fatal(err)
	}
	addr := pgtest.FreeAddr(t)
	site := strings.NewReplacer("server worker:8080;", "server "+gateway+";", "listen 80;", "listen "+addr+";").Replace(string(example))
	if !strings.Contains(site, gateway) || !strings.Contains(site, addr) {
		t.Fatal("the example has other addresses than this test replaces")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	// One process, which needs no other user; its files are all in one place.
	err = os.WriteFile(file, fmt.Appendf(nil, `
master_process off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
%s
}`, site), 0o600)
	if err != nil {
		t.Fatal(err)
	}

	pgtest.Serve(t, addr, "TERM", osexec.Command(program, "-p", dir, "-c", file, "-e", "stderr", "-g", "daemon off;"))
	return "http://" + addr
}
