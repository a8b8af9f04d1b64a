//go:build linux

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/cluster/sqlite"
	"github.com/go-cluster/go-cluster/sim"
)

// A singleton with a database, which is open while it is active.
func Example() {
	dir, err := os.MkdirTemp("", "go-cluster-example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	plane, err := sim.StartPlane("prod", dir) // it is elsewhere in production
	if err != nil {
		panic(err)
	}
	defer plane.Stop()
	ctx, end := context.WithTimeout(context.Background(), time.Minute)
	defer end()

	platform := cluster.NewPlatform("prod", "node-1", plane.URL, cluster.DataDir(dir+"/node-1"))
	ledger := cluster.App("ledger", cluster.Singleton())
	db := sqlite.Open(ledger, "ledger.db", "foreign_keys(1)")
	ledger.OnActive(func(ctx context.Context) error {
		if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS entries (text TEXT)"); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, "INSERT INTO entries VALUES ('first')"); err != nil {
			return err
		}
		var n int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM entries").Scan(&n); err != nil {
			return err
		}
		fmt.Println("entries:", n)
		end() // enough for an example
		return nil
	})
	if err := platform.Register(ledger); err != nil {
		panic(err)
	}
	if err := platform.Run(ctx); err != nil {
		panic(err)
	}
	_, err = db.ExecContext(context.Background(), "DELETE FROM entries")
	fmt.Println(errors.Is(err, cluster.ErrFenced))
	// Output:
	// entries: 1
	// true
}
