package agent

import (
	"testing"

	"go.uber.org/zap"
)

// What is addressed to the node comes to the worker with the events of its app, and has it look then. That it is on its way is no
// reason to look: nothing is new yet, or it has been looked at.
func TestAWakeUpKeepsAWorkerAndHasItNotLook(t *testing.T) {
	w := newWorker(&agent{cfg: Config{Cluster: "prod", Node: "node-1", Log: zap.NewNop()}}, "convex")
	w.wakeUp(7)
	w.wakeUp(5)
	if w.wake != 7 {
		t.Errorf("it may retire at %d, want 7", w.wake)
	}
	select {
	case <-w.signal:
		t.Error("it looks again")
	default:
	}
}
