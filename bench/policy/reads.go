package policy

// reads returns what end users read. Where a view names the person, the explicit where is theirs; where it does not, it
// asks whether they belong there, as everybody has to who writes a backend without policies.
func reads(r readers) []thing {
	const (
		mine = `select p.user_id, p.done, p.total, p.percent, p.version from headway.my_progress(@project) p`
		bars = `select p.user_id, p.done, p.total, p.percent, p.version from headway.progress p where p.project_id = @project`
	)
	customers, all := []person{r.one, r.many}, []person{r.one, r.many, r.staff}
	return []thing{
		{
			"their bar in a project",
			`select * from headway.progress p where p.project_id = @project and p.user_id = @user`, "", customers,
		},
		{
			"their bar in a project, by my_progress",
			mine,
			bars + ` and p.user_id = @user`, customers,
		},
		{
			"all their bars",
			`select * from headway.progress`,
			`select * from headway.progress p where p.user_id = @user`, customers,
		},
		{
			"what is open for them in a project",
			`select * from headway.outstanding_task o where o.project_id = @project and o.user_id = @user`, "", customers,
		},
		{
			"the tasks of a project",
			`select * from headway.task t where t.project_id = @project`,
			`select * from headway.task t where t.project_id = @project
			  and exists (select from headway.member m where m.project_id = t.project_id and m.user_id = @user)`, all,
		},
		{
			"all their tasks, counted",
			`select count(*) from headway.task`,
			`select count(*) from headway.task t
			where t.project_id in (select m.project_id from headway.member m where m.user_id = @user)`, all,
		},
		{
			"what came while they were away",
			`select * from headway.messages_since('project_' || @project::bigint, @seq, 100)`,
			`select m.* from headway.subscription s join headway.message m on m.channel = s.channel and m.seq > @seq
			where s.channel = 'project_' || @project::bigint and s.user_id = @user
			order by m.seq limit 100`, all,
		},
		{
			"the chat of a channel, page by page",
			`select * from headway.message m where m.channel = 'project_' || @project::bigint and m.seq <= @seq order by m.seq desc limit 50`,
			`select * from headway.message m where m.channel = 'project_' || @project::bigint and m.seq <= @seq
			  and exists (select from headway.subscription s where s.channel = m.channel and s.user_id = @user)
			order by m.seq desc limit 50`, all,
		},
		{
			"all their messages, counted",
			`select count(*) from headway.message`,
			`select count(*) from headway.message m
			where m.channel in (select s.channel from headway.subscription s where s.user_id = @user)`, all,
		},
		{
			"how much is unread, by channel",
			`select * from headway.unread`,
			`select * from headway.unread u where u.user_id = @user`, all,
		},
		{
			"50 unread messages",
			`select * from headway.unread_message u order by u.id limit 50`,
			`select * from headway.unread_message u where u.user_id = @user order by u.id limit 50`, all,
		},
		{
			"the snapshot",
			`select headway.snapshot(@user)`, "", all,
		},
		{
			"the bars of all customers of a project",
			`select * from headway.progress p where p.project_id = @project`,
			`select * from headway.progress p where p.project_id = @project
			  and exists (select from headway.member m where m.project_id = p.project_id and m.user_id = @user and m.role = 'staff')`,
			[]person{r.staff},
		},
		{
			"the bars of all customers of a project, by my_progress",
			mine,
			bars + ` and exists (select from headway.member m where m.project_id = p.project_id and m.user_id = @user and m.role = 'staff')`,
			[]person{r.staff},
		},
		{
			"what was completed in a project",
			`select c.* from headway.completion c join headway.task t on t.id = c.task_id where t.project_id = @project`,
			`select c.* from headway.completion c join headway.task t on t.id = c.task_id where t.project_id = @project
			  and exists (select from headway.member m where m.project_id = t.project_id and m.user_id = @user and m.role = 'staff')`,
			[]person{r.staff},
		},
	}
}

// writes returns what a backend writes.
func writes(r readers) []thing {
	customers := []person{r.one, r.many}
	return []thing{
		{
			"a completion",
			`insert into headway.completion (task_id, user_id) values (@task, @user) returning task_id, user_id`, "", customers,
		},
		{
			"a message",
			`insert into headway.message (sender, channel, content) values (@user, 'project_' || @project::bigint, 'Hello') returning seq`, "", customers,
		},
		{
			"100 tasks",
			`insert into headway.task (project_id, title) select @project, 'Task ' || i from generate_series(1, 100) i returning title`, "",
			[]person{r.staff},
		},
	}
}
