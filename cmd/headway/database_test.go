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
	db := pgtest.Empty(t)
	admin := db.Conn(t)
	pgtest.Execute(t, admin, "create database "+db.Name+"_latin1 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0")
	latin1 := &pgtest.DB{URL: strings.Replace(db.URL, db.Name, db.Name+"_latin1", 1), Name: db.Name + "_latin1"}
	t.Cleanup(func() {
		if _, err := admin.Exec(context.Background(), "drop database "+latin1.Name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
	pgtest.Execute(t, admin, "alter database "+latin1.Name+" set datestyle = 'German'")
	if _, stderr, err := headway(t, latin1.URL, "migrate"); err != nil {
		t.Fatal(err, stderr)
	}
	conn := latin1.Conn(t)
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
