package events

// InvariantViolated says that the log, up to the event at Seq, breaks a law that always holds. It is a fact about the software or
// about who wrote to the stream, never about a user's doing. v1.
type InvariantViolated struct {
	Invariant string `json:"invariant"` // name of the law
	Seq       uint64 `json:"seq"`       // of the event that broke it
	Detail    string `json:"detail"`    // what and why
}
