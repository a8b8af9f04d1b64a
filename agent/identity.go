package agent

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// identity is who this agent is to its cluster. Machine is the random key of the agent's directory: another directory is another
// machine. Boot tells one boot of it from the next.
type identity struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	Machine string `json:"machine"`
	Boot    string `json:"-"`
}

// openIdentity reads the directory's identity and makes one at the first time. A directory belongs to one node for ever: under
// another name its instances and epochs would be somebody else's.
func openIdentity(dir, cluster, node, boot string) (identity, error) {
	path := filepath.Join(dir, "machine.json")
	var id identity
	if err := loadJSON(path, &id); err != nil {
		return identity{}, err
	}
	if id.Machine == "" {
		key := make([]byte, 8)
		_, _ = rand.Read(key) // never fails
		id = identity{Cluster: cluster, Node: node, Machine: hex.EncodeToString(key)}
		if err := saveJSON(path, id); err != nil {
			return identity{}, err
		}
	}
	if id.Cluster != cluster || id.Node != node {
		return identity{}, fmt.Errorf("%s belongs to node %s of cluster %s: node %s of cluster %s needs a directory of its own",
			dir, id.Node, id.Cluster, node, cluster)
	}
	if boot == "" {
		b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return identity{}, fmt.Errorf("boot id: %w", err)
		}
		boot = strings.TrimSpace(string(b))
	}
	id.Boot = boot
	return id, nil
}

// machineOf returns the machine key in the name of an incarnation.
func machineOf(inc string) string {
	machine, _, _ := strings.Cut(inc, ".")
	return machine
}

// incarnation returns the name of the machine's n-th incarnation in this boot.
func (id identity) incarnation(n uint64) string {
	return id.Machine + "." + id.Boot + "." + strconv.FormatUint(n, 10)
}
