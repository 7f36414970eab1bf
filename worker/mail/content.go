// Package mail writes digests: it turns what headway.digest_content() says into a complete message (RFC 5322), and
// serves the page that an unsubscribe link opens.
//
// What people typed is hostile until shown otherwise. It reaches a mail in one way only, which removes what does not
// show, keeps it on its line and defuses what a mail client would turn into a link; the templates escape the rest. When
// a digest is due, who gets it and what it contains is the database's business; sending is package smtp's.
package mail

import "time"

// Content is what a digest has to say, as headway.digest_content() returns it in JSON.
type Content struct {
	DigestID int64     `json:"digest_id"`
	Token    string    `json:"token"` // a UUID, known only to the reader
	UserID   int64     `json:"user_id"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	TimeZone string    `json:"time_zone"` // IANA name; UTC if Go does not know it
	Since    time.Time `json:"since"`     // when the oldest message was sent
	Counts   Counts    `json:"counts"`    // of everything, shown or not
	More     int       `json:"more"`      // messages that are not in Projects
	Projects []Project `json:"projects"`
}

// Counts says how many there are of each kind.
type Counts struct {
	Chat      int `json:"chat"`
	Completed int `json:"completed"`
	Reopened  int `json:"reopened"`
	Assigned  int `json:"assigned"`
}

// Project is what happened in one project, or outside of any project.
type Project struct {
	ID    int64    `json:"project_id"` // 0: no project, as for the channel broadcast
	Name  string   `json:"name"`       // empty: the reader is not a member, or it was deleted
	Role  string   `json:"role"`
	From  Progress `json:"from"`
	To    Progress `json:"to"`
	Lines []Line   `json:"lines"`
}

// Progress is a bar.
type Progress struct {
	Done    int64 `json:"done"`
	Total   int64 `json:"total"` // 0: nothing to do
	Percent int   `json:"percent"`
}

// Line is one message, or everything that one person completed in a project.
type Line struct {
	Kind     string    `json:"kind"`    // chat, task_completed, task_reopened or task_assigned
	Channel  string    `json:"channel"` // empty for task_completed
	Sender   string    `json:"sender"`  // empty: unknown
	Messages int       `json:"messages"`
	Titles   []string  `json:"titles"` // of the first tasks
	Content  string    `json:"content"`
	Reason   string    `json:"reason"`
	SentAt   time.Time `json:"sent_at"`
	TaskID   int64     `json:"task_id"`
}

// cutAt is the number of characters after which headway.digest_content() cuts off what somebody wrote.
const cutAt = 500
