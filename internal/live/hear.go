package live

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/listen"
)

// hear applies a notification. One that cannot be understood is ignored: any role may notify anything.
func (f *Follower) hear(ctx context.Context, conn *pgx.Conn, n *pgconn.Notification) error {
	if n.Channel != listen.Events {
		return nil // the probe's
	}
	var m Message
	if json.Unmarshal([]byte(n.Payload), &m) != nil {
		return nil
	}
	switch {
	case m.Kind == "progress":
		var news progress
		if json.Unmarshal([]byte(n.Payload), &news) != nil {
			return nil
		}
		return f.hearProgress(ctx, conn, &news)
	case m.Channel != "":
		return f.hearMessage(ctx, conn, m)
	}
	return nil
}

func (f *Follower) hearProgress(ctx context.Context, conn *pgx.Conn, news *progress) error {
	if f.Project != 0 && f.Project != news.ProjectID {
		return nil
	}
	f.mu.Lock()
	project := f.board.Project(news.ProjectID)
	var moves []Move
	readAgain := true
	if project != nil {
		moves, readAgain = project.apply(news)
	}
	f.mu.Unlock()
	if readAgain {
		return f.readProject(ctx, conn, news.ProjectID)
	}
	if len(moves) > 0 {
		f.emit(Event{Kind: Moved, Moves: moves})
	}
	return nil
}

func (f *Follower) hearMessage(ctx context.Context, conn *pgx.Conn, m Message) error {
	if !channelName.MatchString(m.Channel) {
		return nil
	}
	last, known := f.lastSeq[m.Channel]
	if known && m.Seq <= last {
		return nil // already included in what was read
	}
	if m.Content != nil && known && m.Seq == last+1 {
		f.lastSeq[m.Channel] = m.Seq
		return f.say(ctx, conn, m)
	}
	// A message that is not the next one may not exist, or may follow some that were not notified.
	if !known {
		last = m.Seq - 1
	}
	reading, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, _ := conn.Query(reading, sqlBetween, m.Channel, last, m.Seq, keep) // CollectRows returns its error
	missed, err := pgx.CollectRows(rows, scanMessage)
	if err != nil {
		return fmt.Errorf("read messages of %s: %w", m.Channel, err)
	}
	for _, m := range slices.Backward(missed) {
		f.lastSeq[m.Channel] = m.Seq
		if err := f.say(ctx, conn, m); err != nil {
			return err
		}
	}
	return nil
}

// channelName matches a valid name of a channel.
var channelName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// say adds a message to the board, if it is for us, and emits it.
func (f *Follower) say(ctx context.Context, conn *pgx.Conn, m Message) error {
	var err error
	if m.ProjectID, err = f.home(ctx, conn, m.Channel); err != nil {
		return err
	}
	if f.Project != 0 && m.ProjectID != f.Project && m.Channel != "broadcast" {
		return nil
	}
	if m.SenderName, err = f.name(ctx, conn, m.Sender); err != nil {
		return err
	}
	f.mu.Lock()
	if !personal(m.Channel) {
		f.board.Recent = append(f.board.Recent, m)
		f.board.Recent = f.board.Recent[max(0, len(f.board.Recent)-keep):]
	}
	f.mu.Unlock()
	f.emit(Event{Kind: Said, Message: m})
	return nil
}

var personalChannel = regexp.MustCompile(`^user_[0-9]+$`)

// personal reports whether a channel concerns one person only.
func personal(channel string) bool { return personalChannel.MatchString(channel) }

// home returns the project that a channel belongs to; 0 if it belongs to none.
func (f *Follower) home(ctx context.Context, conn *pgx.Conn, channel string) (id int64, err error) {
	id, known := f.homes[channel]
	if known || channel == "broadcast" || personal(channel) {
		return id, nil
	}
	if err := lookUp(ctx, conn, &id, sqlHome, channel); err != nil {
		return 0, err
	}
	f.homes[channel] = id
	return id, nil
}

// name returns a person's name; empty if there is no such person.
func (f *Follower) name(ctx context.Context, conn *pgx.Conn, id *int64) (name string, err error) {
	if id == nil {
		return "", nil
	}
	if name, known := f.names[*id]; known {
		return name, nil
	}
	if err := lookUp(ctx, conn, &name, sqlName, *id); err != nil {
		return "", err
	}
	f.names[*id] = name
	return name, nil
}
