package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// consumer is what somebody writes with the package in TypeScript; what must not pass is expected to be an error.
const consumer = `
import { Headway, type Project } from "headway";
import { HeadwayChat, translate, use } from "headway/elements";
import { german } from "headway/languages/de";

const headway = new Headway({ token: async () => null });
use(headway);
translate(german);
translate({ unread: { one: "{count} new", other: "{count} new" } });
const chat: HTMLElement = new HeadwayChat();
const projects: Project[] = [...headway.projects.values()];
headway.prefer({ quiet_from: null }).then(() => chat.remove());
console.log(projects[0].progress.percent.toFixed());
headway.addEventListener("message", ({ detail: { message } }) => console.log(message.content.length), { once: true });
const target: EventTarget = headway;
target.dispatchEvent(new Event("mine"));
const inbox = document.querySelector("headway-inbox")!;
inbox.headway = headway;
inbox.addEventListener("headway-open", ({ detail }) => console.log(detail.channel.length));

// @ts-expect-error There is nobody without a token.
new Headway({});
// @ts-expect-error There is no such word.
translate({ nonsense: "" });
// @ts-expect-error A message has no such field.
headway.addEventListener("message", ({ detail: { message } }) => message.nonsense);
// @ts-expect-error What is open is a channel.
inbox.addEventListener("headway-open", ({ detail }) => detail.task);
// @ts-expect-error It is a number.
headway.complete("1");
`

// TestTypes has tsc check the JavaScript by its comments, and a program in TypeScript against the package as it would
// be published, which Node has to be able to import.
func TestTypes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "web")
	if err := os.CopyFS(source, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	npm(t, source, "ci")
	npm(t, source, "run", "check")
	npm(t, source, "pack", "--pack-destination", dir)

	program := filepath.Join(source, "consumer") // beside the node_modules that have tsc
	installed := filepath.Join(program, "node_modules", "headway")
	if err := os.MkdirAll(installed, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "tar", "-xzf", "headway-0.1.0.tgz", "--strip-components=1", "-C", installed)
	if err := os.WriteFile(filepath.Join(program, "main.mts"), []byte(consumer), 0o600); err != nil {
		t.Fatal(err)
	}
	npm(t, source, "exec", "--offline", "--", "tsc", "--ignoreConfig", "--strict", "--noEmit", "--target", "es2024", "--module", "nodenext", "consumer/main.mts")
	// Where a server renders a page there are no elements, and what has them can still be imported.
	run(t, program, "node", "--input-type=module", "--eval", `await import("headway/elements")`)
}

// npm runs npm, which has to be installed, and for "ci" its registry within reach.
func npm(t *testing.T, dir string, args ...string) {
	t.Helper()
	run(t, dir, "npm", append([]string{"--no-audit", "--no-fund", "--prefer-offline", "--no-update-notifier"}, args...)...)
}

func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v (npm comes with apt-get install npm, packages from its registry)\n%s", program, args, err, out)
	}
}
