package rival

import "headway/bench/lab"

// Bare is the ceiling: the inserts alone. Whatever keeps progress can only be slower.
func Bare() lab.Rival {
	return lab.Rival{
		Name:      "bare",
		Title:     "bare insert",
		About:     "The inserts alone and no progress at all: the ceiling.",
		Base:      plain(),
		Statement: insertCompletion,
		Recount:   recountCompletions,
	}
}

const addForeignKeys = `
alter table completion
  add foreign key (task_id) references task,
  add foreign key (user_id) references person,
  add foreign key (completed_by) references person`

// ForeignKeys is the bare insert with the foreign keys that an application would have on it.
func ForeignKeys() lab.Rival {
	return lab.Rival{
		Name:      "foreign-keys",
		Title:     "bare insert, foreign keys",
		About:     "The inserts into a table with the foreign keys that an application would have on it, and no progress either.",
		Base:      plain(),
		Setup:     lab.SQL(addForeignKeys),
		Statement: insertCompletion,
		Recount:   recountCompletions,
	}
}
