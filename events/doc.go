// Package events is the language of the log: the envelope, every event type with its registry row, the codec, the subject
// grammar and the Log itself on JetStream.
//
// The log is the only truth. Everything that is true is a fold of these events, so three rules hold for each of them:
//
//   - An event is appended by compare-and-append only: it carries the last sequence of its aggregate, always under the same
//     filter, and is stored only if nothing was appended to that aggregate since (see Log.Append).
//   - Its id is derived from aggregate, revision, type, cause and addressee, so that the outcome of an interrupted append can
//     always be read back.
//   - A type only ever gains optional fields. A changed meaning is a new version with an upcaster; golden wire files under
//     testdata/golden pin every version for ever.
//
// A reader keeps an unknown type as Unknown and goes on; a malformed event of a known type is a *MalformedError and
// quarantines its aggregate, nothing else.
package events
