package live

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Board is what there is to see: projects with their customers' bars, and the latest messages.
type Board struct {
	Projects []*Project // by id
	Recent   []Message  // oldest first
}

// Project has the part of progress that its customers share, and each customer's own.
type Project struct {
	ID        int64
	Name      string
	Version   int64 // of the fold that it shows; a notification with a higher version is newer
	Shared    Part
	Customers []*Customer // by id
}

// Part is done and total.
type Part struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Customer is one bar.
type Customer struct {
	UserID int64
	Name   string
	Own    Part // in addition to what the project's customers share
}

// Bar is what a customer sees.
func (p *Project) Bar(c *Customer) Part {
	return Part{Done: p.Shared.Done + c.Own.Done, Total: p.Shared.Total + c.Own.Total}
}

// Sum is what staff see: the sum of all customers' bars.
func (p *Project) Sum() Part {
	n := int64(len(p.Customers))
	sum := Part{Done: n * p.Shared.Done, Total: n * p.Shared.Total}
	for _, c := range p.Customers {
		sum.Done += c.Own.Done
		sum.Total += c.Own.Total
	}
	return sum
}

// Customer returns the one with this id; nil if there is none.
func (p *Project) Customer(userID int64) *Customer {
	i, found := slices.BinarySearchFunc(p.Customers, userID, func(c *Customer, id int64) int { return cmp.Compare(c.UserID, id) })
	if !found {
		return nil
	}
	return p.Customers[i]
}

// Project returns the one with this id; nil if there is none.
func (b *Board) Project(id int64) *Project {
	i, found := slices.BinarySearchFunc(b.Projects, id, func(p *Project, id int64) int { return cmp.Compare(p.ID, id) })
	if !found {
		return nil
	}
	return b.Projects[i]
}

// Message is a row of headway.message, as it is notified.
type Message struct {
	ID      int64     `json:"id"`
	Sender  *int64    `json:"sender"`
	Channel string    `json:"channel"`
	Content *string   `json:"content"` // nil in a reference, and if the notification was truncated
	Seq     int64     `json:"seq"`
	Kind    string    `json:"kind"`
	TaskID  *int64    `json:"task_id"`
	SentAt  time.Time `json:"sent_at"`

	ProjectID  int64  `json:"-"` // 0: none
	SenderName string `json:"-"`
}

// Text is the message as people would say it: with the name of whoever did or said it in front.
func (m *Message) Text() string {
	var content string
	if m.Content != nil {
		content = *m.Content
	}
	switch {
	case m.Kind == "chat":
		return m.SenderName + ": " + content
	case strings.HasPrefix(content, "You "): // as for an assignment, whoever made it
		return content
	default:
		return cmp.Or(m.SenderName, "Somebody") + " " + content
	}
}

// progress is the notification of a fold.
type progress struct {
	ProjectID int64 `json:"project_id"`
	Version   int64 `json:"version"`
	Shared    *Part `json:"shared"` // nil in a reference
	Customers *[]struct {
		UserID int64 `json:"user_id"`
		Part
	} `json:"customers"` // whose own part changed; nil if the notification was truncated
}

// Move is a bar that changed.
type Move struct {
	Project       *Project
	Customer      *Customer // nil: the sum
	Before, After Part
}

// apply applies a notification of progress. If it is too new, says too little, or mentions somebody unknown, the
// project has to be read again.
func (p *Project) apply(n *progress) (moves []Move, readAgain bool) {
	if n.Version <= p.Version {
		return nil, false // already included in what was read
	}
	if n.Version > p.Version+1 || n.Shared == nil || n.Customers == nil {
		return nil, true
	}
	for _, c := range *n.Customers {
		if p.Customer(c.UserID) == nil {
			return nil, true
		}
	}

	before := *p
	sum := p.Sum()
	own := map[*Customer]Part{}
	for _, c := range *n.Customers {
		customer := p.Customer(c.UserID)
		own[customer] = customer.Own
		customer.Own = Part{Done: c.Done - n.Shared.Done, Total: c.Total - n.Shared.Total}
	}
	p.Shared, p.Version = *n.Shared, n.Version
	for _, c := range p.Customers {
		was, changed := own[c]
		if !changed {
			was = c.Own
		}
		if m := (Move{Project: p, Customer: c, Before: before.Bar(&Customer{Own: was}), After: p.Bar(c)}); m.Before != m.After {
			moves = append(moves, m)
		}
	}
	return append(moves, sumMove(p, sum)...), false
}

func sumMove(p *Project, before Part) []Move {
	if after := p.Sum(); after != before {
		return []Move{{Project: p, Before: before, After: after}}
	}
	return nil
}

// replace takes over projects that were read again and returns what moved. Projects missing from them are removed.
func (b *Board) replace(projects []*Project) (moves []Move) {
	for _, p := range projects {
		old := b.Project(p.ID)
		if old == nil {
			old = &Project{}
		}
		for _, c := range p.Customers {
			var before Part
			if known := old.Customer(c.UserID); known != nil {
				before = old.Bar(known)
			}
			if after := p.Bar(c); after != before {
				moves = append(moves, Move{Project: p, Customer: c, Before: before, After: after})
			}
		}
		moves = append(moves, sumMove(p, old.Sum())...)
	}
	b.Projects = projects
	return moves
}
