package spec

import (
	"crypto/sha256"
	"encoding/hex"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ProcessHash identifies what a running process was started with: the process, its execution keys, its ports and its health
// check, and which address it has. Two specs with the same hash need no restart to pass from one to the other, and the hash is stored, so it must stay
// the same across versions: a default written out, or an execution key at its other place, does not change it, and neither
// does anything about placement.
func (a App) ProcessHash() string {
	a = a.WithDefaults()
	b, err := json.Marshal(struct {
		Process   *Process       `json:"process,omitzero"`
		Execution Execution      `json:"execution"`
		Ports     map[string]int `json:"ports,omitempty"`
		Health    *Health        `json:"health,omitzero"`
		VIP       *VIP           `json:"vip,omitzero"`
	}{a.Process, a.Execution, a.Ports, a.Health, a.VIP},
		json.Deterministic(true), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	if err != nil {
		panic("spec: hashing a process: " + err.Error()) // no value of these types can fail to encode with these options
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
