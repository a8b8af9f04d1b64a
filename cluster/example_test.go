package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/sim"
)

// plane starts a control plane for an example, which has it elsewhere in production.
func plane() (url string, dir string, stop func()) {
	dir, err := os.MkdirTemp("", "go-cluster-example")
	if err != nil {
		panic(err)
	}
	p, err := sim.StartPlane("prod", dir)
	if err != nil {
		panic(err)
	}
	return p.URL, dir, func() { p.Stop(); _ = os.RemoveAll(dir) }
}

// A program with one app that runs on one of the nodes labelled for it.
func Example() {
	natsURL, dir, stop := plane()
	defer stop()
	ctx, end := context.WithTimeout(context.Background(), time.Minute)

	platform := cluster.NewPlatform("prod", "node-1", natsURL, cluster.DataDir(dir+"/node-1"), cluster.Labels(map[string]string{"role": "controller"}))
	scheduler := cluster.App("scheduler", cluster.Singleton(), cluster.OnLabel("role", "controller"))
	scheduler.OnActive(func(ctx context.Context) error {
		here, _ := cluster.Where(ctx)
		fmt.Printf("%s is %s on %s under epoch %d\n", here.Instance, here.Role, here.Node, here.Epoch)
		end() // enough for an example
		return nil
	})
	scheduler.OnStop(func(context.Context) error {
		fmt.Println("stopped")
		return nil
	})
	if err := platform.Register(scheduler); err != nil {
		panic(err)
	}
	if err := platform.Run(ctx); err != nil {
		panic(err)
	}
	// Output:
	// scheduler-0 is active on node-1 under epoch 1
	// stopped
}

// Writes go through the gate: only the active instance has it open.
func ExampleApplication_Write() {
	natsURL, dir, stop := plane()
	defer stop()
	ctx, end := context.WithTimeout(context.Background(), time.Minute)
	defer end()

	platform := cluster.NewPlatform("prod", "node-1", natsURL, cluster.DataDir(dir+"/node-1"))
	ledger := cluster.App("ledger", cluster.Singleton())
	ledger.OnActive(func(ctx context.Context) error {
		return ledger.Write(ctx, func(ctx context.Context) error {
			epoch, _ := cluster.Epoch(ctx)
			fmt.Println("written under epoch", epoch)
			end()
			return nil
		})
	})
	if err := platform.Register(ledger); err != nil {
		panic(err)
	}
	if err := platform.Run(ctx); err != nil {
		panic(err)
	}
	fmt.Println(errors.Is(ledger.Fence(context.Background()), cluster.ErrFenced))
	// Output:
	// written under epoch 1
	// true
}

// A hook that does not want the app to move now.
func ExampleApplication_OnMigrationStart() {
	app := cluster.App("convex", cluster.Singleton())
	app.OnMigrationStart(func(_ context.Context, from, to string) error {
		return cluster.RetryAfter(fmt.Errorf("a backup is running on %s", from), 10*time.Minute)
	})
}

// What a client does is refused with every rule that stands in the way.
func ExamplePlatform_MoveApp() {
	natsURL, _, stop := plane()
	defer stop()
	client := cluster.NewPlatform("prod", "", natsURL)
	defer client.Close()

	err := client.MoveApp(context.Background(), cluster.MoveRequest{App: "convex", FromNode: "node-1"})
	var refused *cluster.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Code, "-", refused)
	}
	fmt.Println(errors.Is(err, cluster.ErrNotFound))
	// Output:
	// not_found - move convex: no such app
	// true
}

// What is wrong with the options comes out of every call.
func ExampleNewPlatform() {
	platform := cluster.NewPlatform("prod", "node 1", "nats://nats:4222", cluster.LeaseTTL(time.Second))
	fmt.Println(platform.Run(context.Background()))
	// Output:
	// platform prod: node name "node 1": want 1 to 63 characters a-z, 0-9 and "-", starting and ending with a letter or digit; LeaseTTL 1s: want at least 3s
}
