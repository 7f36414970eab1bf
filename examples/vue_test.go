package examples_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
	"headway/internal/webtest"
)

// TestVueComesBackToTheConversation opens the announcements and the project in turn, from the inbox.
func TestVueComesBackToTheConversation(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, gatewaytest.People+"; select headway.post(4, 'broadcast', 'Closed on Sunday'), headway.post(1, 'project_1', 'Hello Bob')")
	bob := webtest.Open(t, webtest.Chromium(t), serveVue(t, webtest.Gateway(t, db).URL)+"/#2")
	bob.Shows("chat", "Hello Bob")
	said := map[string]string{"broadcast": "Closed on Sunday", "project_1": "Hello Bob"}
	for _, channel := range []string{"broadcast", "project_1", "broadcast", "project_1"} {
		bob.Click(webtest.In("inbox", ".open"))
		bob.Click(webtest.In("inbox", "[data-channel="+channel+"]"))
		bob.Shows("chat", said[channel])
	}
}

func TestVueSeesTheBarMove(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	for _, statement := range []string{
		"insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie'), (4, 'Dora')",
		"insert into headway.project (id, name) values (1, 'Website'), (2, 'Garden')",
		"insert into headway.member (project_id, user_id, role) values (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff'), (2, 2, 'customer')",
		"insert into headway.task (project_id, title, shared) values (1, 'Domain', true), (1, 'Profile', false), (2, 'Trees', true)",
		"select headway.fold()",
	} {
		execute(t, conn, statement)
	}
	site := serveVue(t, webtest.Gateway(t, db).URL)
	folded := func(is func() bool) func() bool {
		return func() bool {
			execute(t, conn, "select headway.fold()") // as the worker would
			return is()
		}
	}

	browser := webtest.Chromium(t)
	bob, charlie, dora := webtest.Open(t, browser, site+"/#2"), webtest.Open(t, browser, site+"/#3"), webtest.Open(t, browser, site+"/#4")
	bob.Shows("title", "Website")
	dora.Shows("title", "all customers")
	charlie.Complete("tasks", "Domain")
	bob.Until("Bob's bar does not move", folded(func() bool { return bob.Percent("progress") == "50" }))
	bob.Shows("project", "Website (50 %)")
	dora.Shows("activity", "Charlie completed “Domain”")
	dora.Shows("tasks", "Charlie")

	// An event of an element.
	bob.Complete("tasks", "Profile")
	bob.Until("nobody thanks Bob", folded(func() bool { return strings.Contains(bob.Text("thanks"), "That was all of Website") }))

	bob.Type(webtest.In("chat", "textarea"), "Hello Dora"+kb.Enter)
	dora.Shows("chat", "Hello Dora")

	// What the inbox tells, and another project.
	execute(t, conn, "select headway.post(4, 'broadcast', 'Closed on Sunday')")
	bob.Shows("inbox", "1")
	bob.Click(webtest.In("inbox", ".open"))
	bob.Click(webtest.In("inbox", "[data-channel=broadcast]"))
	bob.Shows("chat", "Closed on Sunday")
	bob.Type(`document.getElementById("project")`, "G")
	bob.Shows("title", "Garden")
	bob.Shows("tasks", "Trees")
	bob.Until("the bar is still that of the other project", func() bool { return bob.Percent("progress") == "0" })

	// Somebody else.
	bob.Type(`document.getElementById("user")`, "D")
	bob.Shows("title", "Website, all customers")
}

// serveVue builds the example with npm and has Vite serve it until the test ends, and returns its address.
func serveVue(t *testing.T, headway string) string {
	t.Helper()
	root := t.TempDir()
	for from, to := range map[string]string{"vue": "examples/vue", "../web": "web"} {
		if err := os.CopyFS(filepath.Join(root, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "examples", "vue")
	for _, args := range [][]string{{"ci", "--no-audit", "--no-fund", "--prefer-offline"}, {"run", "build"}} {
		cmd := exec.CommandContext(t.Context(), "npm", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm %q: %v (apt-get install npm; its registry has to be within reach)\n%s", args, err, out)
		}
	}

	address := pgtest.FreeAddr(t)
	_, port, _ := net.SplitHostPort(address)
	vite := exec.Command("node", "node_modules/vite/bin/vite.js", "preview", "--host", "127.0.0.1", "--port", port, "--strictPort")
	vite.Dir = dir
	vite.Env = append(os.Environ(), "HEADWAY_URL="+headway, "HEADWAY_TOKEN_SECRET="+gatewaytest.Secret)
	pgtest.Serve(t, address, "TERM", vite)
	return fmt.Sprint("http://", address)
}
