// Package litestream carries SQLite databases between nodes: what a write-ahead log gets is shipped by Litestream to a JetStream
// object store, one bucket per app and one path per epoch, and applied page by page where a copy is kept.
//
// A position counts the files that Litestream wrote under an epoch, not commits. A copy that is at the position where its epoch ended
// is the same file byte for byte, so the two ends compare a checksum of it.
//
// POSIX locks belong to a process, and closing any descriptor of a file drops those of all others in it: nothing here opens a
// database that SQLite may have open in this process, but for the one descriptor per file that header keeps open.
package litestream
