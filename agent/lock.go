package agent

import (
	"errors"
	"fmt"
	"os"

	"github.com/go-cluster/go-cluster/dirlock"
)

// lockDir makes the directory this process's own until the file is closed or the process ends. The error names who has it.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	return TakeDir(dir, "agent.lock")
}

// TakeDir makes a directory one agent's own by a lock on that file in it. The error names the process of the agent that has it.
func TakeDir(dir, file string) (*os.File, error) {
	f, err := dirlock.Take(dir, file, fmt.Sprint(os.Getpid()))
	var held *dirlock.HeldError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("%s is used by another agent, process %s", dir, held.Who)
	}
	return f, err
}
