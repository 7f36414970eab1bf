package main

import (
	"context"
	"strings"
	"testing"

	"headway/internal/pgtest"
)

// TestTheEncodingAndTheDateStyleOfADatabaseAreItsOwn works in one whose text is LATIN1 and whose dates are German, also by
// default for whoever connects.
func TestTheEncodingAndTheDateStyleOfADatabaseAreItsOwn(t *testing.T) {
	t.Parallel()
	latin1 := encoded(t, "LATIN1")
	conn := latin1.Conn(t)
	pgtest.Execute(t, conn, "alter database "+latin1.Name+" set datestyle = 'German'; set datestyle = 'German'")
	pgtest.Execute(t, conn, "set client_encoding = 'UTF8'") // from the next message on
	pgtest.Execute(t, conn, sqlMailed+
		"; update headway.appuser set fullname = 'José' where id = 4; select headway.post(2, 'project_1', 'Grüße aus Köln')")

	stdout, stderr, err := headway(t, latin1.URL, "digest", "preview", "José")
	if err != nil || !strings.Contains(stdout, "Grüße aus Köln") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	findings, _ := examine(t, map[string]string{"DATABASE_URL": latin1.URL})
	expect(t, findings, map[string]string{
		"server": "warning: PostgreSQL",
		"clock":  "ok: ",
	})
	if !strings.Contains(findings["server"], "LATIN1") {
		t.Error(findings["server"])
	}
}

// TestADigestThatCannotBeReadHoldsUpNoOther has a message that is no text in UTF8 once it is cut, as where the database does
// not know what a character is.
func TestADigestThatCannotBeReadHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	ascii := encoded(t, "SQL_ASCII")
	conn := ascii.Conn(t)
	pgtest.Execute(t, conn, "set client_encoding = 'UTF8'")
	pgtest.Execute(t, conn, sqlMailed+`;
select headway.open_channel('odd', 1, array[1, 2]);
select headway.post(1, 'odd', 'x' || repeat('äöü€', 400))`)
	pgtest.Execute(t, conn, "select headway.reserve_digests()")
	var claimed []string
	for {
		var user *string
		err := conn.QueryRow(t.Context(), "select headway.claim_digest(gen_random_uuid()) ->> 'user_id'").Scan(&user)
		if err != nil {
			t.Fatal(err)
		}
		if user == nil {
			break
		}
		claimed = append(claimed, *user)
	}
	if got := strings.Join(claimed, " "); got != "4" {
		t.Errorf("claimed are the digests of %s", got)
	}
	if n := count(t, conn, "headway.digest where user_id = 2 and state = 'failed' and error ~ 'invalid byte sequence'"); n != 1 {
		t.Error("the other one does not say why it cannot be sent")
	}
}

// encoded is a database with headway in another encoding.
func encoded(t *testing.T, encoding string) *pgtest.DB {
	t.Helper()
	db := pgtest.Empty(t)
	admin := db.Conn(t)
	name := db.Name + "_" + strings.ToLower(encoding)
	pgtest.Execute(t, admin, "create database "+name+" encoding '"+encoding+"' lc_collate 'C' lc_ctype 'C' template template0")
	t.Cleanup(func() {
		if _, err := admin.Exec(context.Background(), "drop database "+name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
	made := &pgtest.DB{URL: strings.Replace(db.URL, db.Name, name, 1), Name: name}
	if _, stderr, err := headway(t, made.URL, "migrate"); err != nil {
		t.Fatal(err, stderr)
	}
	return made
}
