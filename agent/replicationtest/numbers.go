package replicationtest

import (
	"database/sql"
	"testing"
)

// Numbers reads what a SQLite database has in the order of writing, for App.Numbers: column n of table numbers, by id. A database that is
// damaged ends the test.
func Numbers(t *testing.T, db *sql.DB) []int {
	t.Helper()
	var verdict string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity_check: %s, %v", verdict, err)
	}
	rows, err := db.QueryContext(t.Context(), "SELECT n FROM numbers ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	all := []int{}
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
