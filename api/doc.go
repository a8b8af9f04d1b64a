// Package api is what the wire carries besides events: requests, replies and refusal codes. It is pure data.
//
// A command goes to the service that owns the decision. The reply comes after the event is stored and carries its sequence, or
// it is an *Error. A question is answered from a fold that has reached the log's end as of the question's arrival.
package api
