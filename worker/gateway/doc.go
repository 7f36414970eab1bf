// Package gateway lets browsers see what happens: it tells them over WebSocket and Server-Sent Events, and serves a
// small JSON API for those that have no backend of their own in between.
//
// What belongs here is transport. What somebody may see and do is decided by the database: every query runs in a
// transaction of its own as the role headway_user with the identity of the token, so the policies decide and nothing
// here does.
//
// # A notification is a hint
//
// Anybody who may connect to the database may NOTIFY anything, so the gateway believes none of what a notification
// says. It says only that there may be something to read: a message of this number in this channel, a version of this
// project's progress, a change of somebody's subscriptions. The gateway then reads it, as one of those who are
// connected and may, once for all who are to get it. Hence it makes no difference whether a notification carries the
// row, is cut short, or only refers to it; and where nothing is notified at all, the gateway looks every now and then.
//
// # Positions
//
// A message has a number within its channel, without gaps and in order of commit; a project's progress has a version
// that grows. What a client has of each is its position. A connection is told the messages after its position, in
// order and each once, and the newest progress. One that comes back says what it has, and gets exactly what it missed,
// or resync if that would be too much, and then a snapshot.
//
// For the connection that is new, the order is: first it is entered where events are handed out, and what is handed out
// is kept for it; then the snapshot is read; then it is sent, and after it what was kept and is newer.
//
// # Who leaves
//
// Whoever loses a subscription gets nothing more of that channel from the moment the gateway hears of it: it is taken
// out first, and whether it was true is asked afterwards. A token that expires ends the connection.
//
// # What a connection costs
//
// While nothing happens a connection is a goroutine that reads, in a stack that has never been deep, and no buffer. Who
// offers it an event starts another, which writes all that waits, and ends. So nobody waits for a client that reads
// slowly; what waits for it is bounded, and above that it is told to come back.
package gateway
