package sql_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestTheSnapshotTellsNoMoreThanThePoliciesLetThrough has everybody ask for everybody's snapshot, and for their own once
// more without the way past the policies.
func TestTheSnapshotTellsNoMoreThanThePoliciesLetThrough(t *testing.T) {
	t.Parallel()
	conn := neighbours(t).Conn(t)
	snapshots := func() map[string]string {
		t.Helper()
		told := map[string]string{}
		err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			people, err := everybody(t.Context(), tx)
			if err != nil {
				return err
			}
			for _, looker := range people {
				err := as(t.Context(), tx, looker, func() error {
					for _, person := range people {
						var snapshot string
						const query = "select coalesce(headway.snapshot($1)::text, 'nothing')"
						if err := tx.QueryRow(t.Context(), query, person).Scan(&snapshot); err != nil {
							return err
						}
						told[named(looker)+" asks for "+named(person)] = snapshot
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	past := snapshots()
	redefine(t, conn, "headway.snapshot(bigint)", `return headway\.my_snapshot\(\)`, "null")
	for who, want := range snapshots() {
		if past[who] != want {
			t.Errorf("%s and gets\n%s\nnot\n%s", who, past[who], want)
		}
	}
	if own := past["person 1 asks for person 1"]; own == "nothing" || past["nobody asks for person 1"] != "nothing" {
		t.Errorf("person 1 gets %s, nobody gets %s", own, past["nobody asks for person 1"])
	}
}
