package api

import "time"

// Log streams end with one of these headers on an otherwise empty chunk.
const (
	LogsDone  = "Gc-Done"  // "true": everything asked for has been sent
	LogsError = "Gc-Error" // why the stream ends before that
)

// LogsKeepAlive is the longest that an agent leaves a log stream silent: with nothing to send it sends an empty chunk. A client
// that has heard nothing for LogsSilence takes the agent for gone.
const (
	LogsKeepAlive = 5 * time.Second
	LogsSilence   = 15 * time.Second
)

// MaxLogsChunk is the most bytes of log in one chunk. Chunks are cut anywhere, also within a line.
const MaxLogsChunk = 32 << 10

// LogsEndpoint is where the agent of a node answers LogsRequest: subject gc.<cluster>.api.logs.<node>.
func LogsEndpoint(node string) Endpoint {
	return Endpoint{Noun: "logs", Verb: node, Service: "agent"}
}

// LogsRequest asks a node's agent for the output of an instance that is or was there. After its reply the agent sends the log as
// NATS requests to Inbox, raw bytes each, and waits for an answer to each before the next: a slow reader slows the stream, and
// one that is gone shows as no responders and ends it.
type LogsRequest struct {
	Meta     `json:",inline"`
	Instance string `json:"instance"`
	Tail     int    `json:"tail"`            // the newest so many lines; negative: all that is kept
	Follow   bool   `json:"follow,omitzero"` // go on with what is written later, until the instance is gone from the node
	Inbox    string `json:"inbox"`
}

// LogsReply says that the stream begins.
type LogsReply struct {
	Node     string `json:"node"`
	Instance string `json:"instance"`
}
