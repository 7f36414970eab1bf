// Package gateway lets browsers follow what happens: it sends events over WebSocket and Server-Sent Events, and serves
// a small JSON API for pages without a backend of their own in between.
//
// This package is only transport. The database decides what somebody may see and do: every query runs in its own
// transaction as the role headway_user with the identity of the token, so the policies decide, and nothing here does.
//
// # A notification is a hint
//
// Anybody who may connect to the database may NOTIFY anything, so the gateway trusts nothing that a notification says.
// It is only a hint that there may be something to read: a message with this number in this channel, a version of this
// project's progress, a change to somebody's subscriptions. The gateway then reads it once for all recipients, as one
// of those connected who may. Hence it makes no difference whether a notification carries the row, is truncated, or
// only refers to it; and where nothing is notified at all, the gateway looks every now and then.
//
// # Positions
//
// A message has a number within its channel, without gaps and in commit order; a project's progress has a version that
// grows. What a client has of each is its position. A connection is sent the messages after its position, in order and
// each once, and the newest progress. A client that reconnects says what it has, and gets exactly what it missed, or
// resync if that would be too much, followed by a snapshot.
//
// For a new connection, the order is: first it is registered, and events for it are kept back; then the snapshot is
// read; then that is sent, followed by those events that are newer.
//
// # Leaving a channel
//
// Whoever loses a subscription gets nothing more from that channel once the gateway hears of it: they are removed
// first, and whether it was true is checked afterwards. A token that expires ends the connection.
//
// # What a connection costs
//
// While nothing happens, a connection is a goroutine that reads, on a stack that has never been deep, and no buffer.
// Offering it an event starts another goroutine, which writes all that is waiting, and ends. So nothing waits for a
// client that reads slowly; what is waiting for it is bounded, and beyond that it is told to reconnect.
package gateway
