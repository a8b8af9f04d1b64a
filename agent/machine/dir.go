package machine

import (
	"os"
	"path/filepath"
)

// StateDir is where an agent keeps its data unless told otherwise.
func StateDir(node string) (string, error) {
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib/go-cluster", node), nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "go-cluster", node), nil
}
