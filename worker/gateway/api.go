package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/sqlstate"
)

const (
	// maxBody bounds a request.
	maxBody = 1 << 20

	// maxIDs bounds the messages that are marked at a time.
	maxIDs = 10_000
)

// Handler serves the API below /api/.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, serve := range g.routes() {
		mux.HandleFunc(pattern, serve)
	}
	mux.HandleFunc("OPTIONS /api/", func(w http.ResponseWriter, r *http.Request) {
		if g.checkOrigin(w, r) {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is no such endpoint", "GET /api/openapi.json lists them.")
	})
	return mux
}

// routes are the routes that openapi.json describes.
func (g *Gateway) routes() map[string]http.HandlerFunc {
	routes := map[string]http.HandlerFunc{
		"GET /api/openapi.json": g.serveDescription,
		"GET /api/ws":           g.serveWebSocket,
		"GET /api/events":       g.serveEvents,
		"POST /api/ticket":      g.serveTicket,
	}
	for _, o := range operations {
		routes[o.pattern] = func(w http.ResponseWriter, r *http.Request) { g.operate(w, r, o) }
	}
	return routes
}

// operation is one API operation: a single query, run as the person whom the token is for.
type operation struct {
	pattern string
	query   string // returns one row of one JSON column; null or no row: not found

	// arguments extracts the query's arguments from a request.
	arguments func(r request) ([]any, error)
}

// unprocessable is the error for arguments that are present but make no sense.
type unprocessable string

func (u unprocessable) Error() string { return string(u) }

// request is what a query's arguments are extracted from.
type request struct {
	*http.Request
	user int64
	body struct {
		UserID     *int64           `json:"user_id"`
		Reason     *string          `json:"reason"`
		Content    *string          `json:"content"`
		ThroughSeq *int64           `json:"through_seq"`
		Through    map[string]int64 `json:"through"`
		MessageIDs []int64          `json:"message_ids"`
		Muted      *bool            `json:"muted"`
		Account    *json.RawMessage `json:"account"`
	}
}

// operations is the API. What a person may not see does not exist for them.
var operations = []operation{
	{"GET /api/snapshot", `select headway.snapshot($1)`, func(r request) ([]any, error) { return []any{r.user}, nil }},
	{"GET /api/account", `select to_json(a) from headway.my_account() a`, nothing},
	{"GET /api/projects/{id}/tasks", `
select coalesce(json_agg(t order by t.position, t.id), '[]')
from (
  select t.*,
    case when t.complete then '[]' else (
      select coalesce(json_agg(json_build_object('id', b.id, 'title', b.title) order by b.id), '[]')
      from headway.outstanding_task o
      -- One by one: a join on any (o.blocked_by) looks for it anew for every task that there is.
      cross join lateral unnest(o.blocked_by) r (id)
      join headway.task b on b.id = r.id
      where o.task_id = t.id and o.project_id = $1 and o.user_id = $2
    ) end as blocked_by
  from (
    -- What headway.is_complete() and is_for() return, written out: a call for every task takes longer than all the rest.
    select t.id, t.title, t.detail, t.weight, t.shared, t.audience, t.position,
      -- What is no date-time of RFC 3339, such as infinity, is a time that a browser cannot show.
      case when t.due_at between '0001-01-02' and '9999-12-30' then t.due_at end as due_at,
      case
        when t.shared then (select true from headway.completion c where c.task_id = t.id order by c.user_id limit 1) is not null
        else exists (select from headway.completion c where c.task_id = t.id and c.user_id = $2)
      end as complete
    from headway.task t
    where t.project_id = $1
      and (t.audience = 'everyone' or exists (select from headway.assignment a where a.task_id = t.id and a.user_id = $2))
    offset 0 -- whether it is complete is asked once
  ) t
) t`, func(r request) ([]any, error) {
		ids, err1 := r.id()
		user, err2 := r.number("user_id", r.user)
		return append(ids, user), errors.Join(err1, err2)
	}},
	{"GET /api/projects/{id}/progress", `
with bar as materialized (
  select * from headway.my_progress($1)
),
named as (
  -- A customer's bar is their own, and so is the name: to find whose names they may see takes the longer the more people
  -- share their projects.
  select b.*, a.fullname from bar b join headway.my_account() a on a.id = b.user_id
  union all
  select b.*, u.fullname from bar b join headway.appuser u on u.id = b.user_id
  where b.user_id <> headway.uid() and exists (select from bar o where o.user_id <> headway.uid())
)
select coalesce(json_agg(json_build_object(
  'user_id', n.user_id, 'fullname', n.fullname, 'done', n.done, 'total', n.total, 'percent', n.percent, 'version', n.version
) order by n.fullname, n.user_id), '[]')
from named n`, request.id},
	{"GET /api/projects/{id}/people", `
select coalesce(json_agg(json_build_object('user_id', m.user_id, 'fullname', u.fullname, 'role', m.role) order by u.fullname, m.user_id), '[]')
from headway.member m
join headway.appuser u on u.id = m.user_id
where m.project_id = $1`, request.id},
	{"GET /api/channels/{name}/messages", `
select coalesce(json_agg(` + sqlMessage + ` order by m.seq), '[]')
from (
  select m.*, sum(octet_length(m.content) + coalesce(octet_length(m.data::text), 0)) over (
    order by case when $2 > 0 then m.seq else -m.seq end rows between unbounded preceding and 1 preceding
  ) as bytes_before
  from (
    -- One of the two is not executed. An order that depends on $2 would read the whole channel and sort it.
    (
      select m.* from headway.message m
      where $2 > 0 and m.channel = $1 and m.seq > $2 and m.seq < $3
      order by m.seq
      limit $4
    )
    union all
    (
      select m.* from headway.message m
      where $2 <= 0 and m.channel = $1 and m.seq > $2 and m.seq < $3
      order by m.seq desc
      limit $4
    )
  ) m
) m
where coalesce(m.bytes_before, 0) < $5`, func(r request) ([]any, error) {
		after, err1 := r.number("after", 0)
		before, err2 := r.number("before", 1<<62)
		limit, err3 := r.number("limit", 50)
		return []any{r.PathValue("name"), after, before, min(max(limit, 1), 500), page.bytes}, errors.Join(err1, err2, err3)
	}},
	{"POST /api/tasks/{id}/complete", `select json_build_object('changed', headway.complete_task($1, $2, $3))`, func(r request) ([]any, error) {
		ids, err := r.target()
		return append(ids, r.user), err
	}},
	{"POST /api/tasks/{id}/reopen", `select json_build_object('changed', headway.reopen_task($1, $2, $3, $4))`, func(r request) ([]any, error) {
		ids, err := r.target()
		return append(ids, r.user, r.body.Reason), err
	}},
	{"POST /api/channels/{name}/messages", `select to_json(headway.post($1, $2, $3))`, func(r request) ([]any, error) {
		if r.body.Content == nil || strings.TrimSpace(*r.body.Content) == "" {
			return nil, errors.New(`want {"content": "…"} that is not empty`)
		}
		return []any{r.user, r.PathValue("name"), *r.body.Content}, nil
	}},
	{"POST /api/channels/{name}/read", `select json_build_object('read_seq', headway.mark_read($1, $2, $3))`, func(r request) ([]any, error) {
		return []any{r.user, r.PathValue("name"), r.body.ThroughSeq}, nil
	}},
	{"POST /api/read", `
select json_build_object('read', coalesce(json_object_agg(m.channel, m.read_seq), '{}'))
from (
  select w.channel, headway.mark_read($1, w.channel, w.through) as read_seq
  from (
    select s.channel, t.value::bigint as through
    from jsonb_each_text($2) t
    join headway.subscription s on s.channel = t.key and s.user_id = $1
    order by s.channel -- a fixed order, as headway.mark_seen() has, so that two requests never deadlock
    for no key update of s
  ) w
) m`, func(r request) ([]any, error) {
		if r.body.Through == nil {
			return nil, errors.New(`want {"through": {"project_1": 17}}, with a seq for each channel`)
		}
		return []any{r.user, r.body.Through}, nil
	}},
	{"POST /api/seen", `select json_build_object('marked', headway.mark_seen($1, $2))`, func(r request) ([]any, error) {
		if len(r.body.MessageIDs) == 0 {
			return nil, errors.New(`want {"message_ids": […]}`)
		}
		if len(r.body.MessageIDs) > maxIDs {
			return nil, unprocessable(fmt.Sprintf("message_ids has %d entries, %d are the most", len(r.body.MessageIDs), maxIDs))
		}
		return []any{r.user, r.body.MessageIDs}, nil
	}},
	{"PUT /api/channels/{name}/muted", `select json_build_object('muted', headway.mute($1, $2, $3))`, func(r request) ([]any, error) {
		if r.body.Muted == nil {
			return nil, errors.New(`want {"muted": true} or {"muted": false}`)
		}
		return []any{r.user, r.PathValue("name"), *r.body.Muted}, nil
	}},
	{"PATCH /api/account", `
with new as (
  update headway.appuser u
  set digest_after = case when a.j ? 'digest_after' then (a.j ->> 'digest_after')::interval else c.digest_after end,
    time_zone = coalesce(a.j ->> 'time_zone', c.time_zone),
    quiet_from = case when a.j ? 'quiet_from' then (a.j ->> 'quiet_from')::time else c.quiet_from end,
    quiet_until = case when a.j ? 'quiet_until' then (a.j ->> 'quiet_until')::time else c.quiet_until end
  from headway.my_account() c, (select $2::jsonb as j) a
  where u.id = $1 and c.id = $1
  returning u.id
)
select json_build_object('id', n.id) from new n`, func(r request) ([]any, error) {
		if r.body.Account == nil {
			return nil, errors.New(`want {"account": {"digest_after": "2 hours", "time_zone": "Europe/Lisbon", "quiet_from": null, "quiet_until": null}}, or some of these fields`)
		}
		return []any{r.user, string(*r.body.Account)}, checkPreferences(*r.body.Account)
	}},
}

// first is a statement that locks what an operation's query then reads and writes. If two windows change different
// preferences at the same moment, the second thus sees what the first has changed, and keeps it.
var first = map[string]string{
	"PATCH /api/account": "select from headway.appuser u where u.id = $1 for no key update",
}

// accepted says which values are accepted, for a 422 whose error has no hint.
var accepted = map[string]string{
	"POST /api/seen": "Mark the rest with another request, or all with POST /api/channels/{name}/read.",
	"PATCH /api/account": `An account takes digest_after (such as "2 hours", at most 100 years; null: the administrator's setting), ` +
		`time_zone (an IANA name, such as "Europe/Lisbon"), quiet_from and quiet_until (such as "22:00" and "07:00"; null, both: none).`,
}

// checkPreferences refuses preferences that the query would ignore.
func checkPreferences(account json.RawMessage) error {
	var fields map[string]any
	if json.Unmarshal(account, &fields) != nil {
		return unprocessable("account is not an object")
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		_, text := fields[name].(string)
		switch name {
		case "time_zone":
		case "digest_after", "quiet_from", "quiet_until":
			text = text || fields[name] == nil
		default:
			return unprocessable("unknown preference " + strconv.Quote(name))
		}
		if !text {
			return unprocessable(name + " is not a string")
		}
	}
	return nil
}

func nothing(request) ([]any, error) { return nil, nil }

// id returns the number in the path.
func (r request) id() ([]any, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, errors.New("want a whole number in the path instead of " + strconv.Quote(r.PathValue("id")))
	}
	return []any{id}, nil
}

// target returns the task in the path and the customer in the body, by default the caller.
func (r request) target() ([]any, error) {
	ids, err := r.id()
	if r.body.UserID != nil {
		return append(ids, *r.body.UserID), err
	}
	return append(ids, r.user), err
}

func (r request) number(name string, otherwise int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errors.New(name + " is " + strconv.Quote(text) + ", want a whole number")
	}
	return n, nil
}

// operate answers a request with the result of a query.
func (g *Gateway) operate(w http.ResponseWriter, r *http.Request, o operation) {
	// For as long as it takes to read the body and to write the answer: whoever is slow holds up only themselves.
	identity, end, ok := g.turn(w, r)
	if !ok {
		return
	}
	defer end()
	asked := request{Request: r, user: identity.UserID}
	if !asked.read(w) {
		return
	}
	arguments, err := o.arguments(asked)
	if value, is := errors.AsType[unprocessable](err); is {
		refuse(w, http.StatusUnprocessableEntity, value.Error(), accepted[o.pattern])
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the request is not valid", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), reach) // from here on: a body may take longer to arrive
	defer cancel()
	var answer []byte
	err = g.hub.store.as(ctx, identity.UserID, func(tx pgx.Tx) error {
		if lock, is := first[o.pattern]; is {
			if _, err := tx.Exec(ctx, lock, identity.UserID); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, o.query, arguments...).Scan(&answer)
	})
	switch {
	case err == nil && answer != nil:
		g.deliver(w, answer)
	case err == nil || errors.Is(err, pgx.ErrNoRows):
		refuse(w, http.StatusNotFound, "not found", "It does not exist, or you may not see it.")
	case r.Context().Err() != nil: // the client has gone
	default:
		g.explain(w, err, accepted[o.pattern])
	}
}

// turn returns who is calling, and what ends their request's turn, which it waits for; or answers why there is none.
func (g *Gateway) turn(w http.ResponseWriter, r *http.Request) (identity Identity, end func(), ok bool) {
	if identity, ok = g.authenticate(w, r); !ok {
		return identity, nil, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), reach)
	defer cancel()
	end, err := g.turns.take(ctx, identity.UserID)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "too many requests at a time", "Wait for the answers to the others.")
		return identity, nil, false
	}
	return identity, end, true
}

// read reads the body, or answers that it cannot be read.
func (r *request) read(w http.ResponseWriter) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&r.body)
	if err == nil || errors.Is(err, io.EOF) {
		return true
	}
	detail := "Send JSON, at most 1 MiB of it."
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is {
		detail = "Send a JSON object instead of a JSON " + wrong.Value + "."
		if wrong.Field != "" {
			detail = strconv.Quote(wrong.Field) + " cannot be a JSON " + wrong.Value + "."
		}
	}
	refuse(w, http.StatusBadRequest, "the request cannot be read", detail)
	return false
}

// deliver writes an answer; whoever does not take it within PingInterval does not get it.
func (g *Gateway) deliver(w http.ResponseWriter, answer []byte) {
	w.Header().Set("Content-Type", "application/json")
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(g.PingInterval))
	_, _ = w.Write(answer)
	_ = control.SetWriteDeadline(time.Time{}) // it would go for the connection's next request, too
}

// statuses are the HTTP statuses for database errors that concern the caller.
var statuses = map[string]int{
	sqlstate.InsufficientPrivilege:             http.StatusForbidden, // also of a policy
	sqlstate.InvalidAuthorizationSpecification: http.StatusUnauthorized,
	sqlstate.NoDataFound:                       http.StatusNotFound,
	sqlstate.ForeignKeyViolation:               http.StatusNotFound,
	sqlstate.ObjectNotInPrerequisiteState:      http.StatusConflict,
	sqlstate.CheckViolation:                    http.StatusUnprocessableEntity,
	sqlstate.InvalidParameterValue:             http.StatusUnprocessableEntity,
	sqlstate.InvalidDatetimeFormat:             http.StatusUnprocessableEntity,
	sqlstate.DatetimeFieldOverflow:             http.StatusUnprocessableEntity,
	sqlstate.IntervalFieldOverflow:             http.StatusUnprocessableEntity,
	sqlstate.InvalidTextRepresentation:         http.StatusUnprocessableEntity,
	sqlstate.UntranslatableCharacter:           http.StatusUnprocessableEntity,
	sqlstate.CharacterNotInRepertoire:          http.StatusUnprocessableEntity,
	sqlstate.SerializationFailure:              http.StatusServiceUnavailable,
	sqlstate.DeadlockDetected:                  http.StatusServiceUnavailable,
	sqlstate.LockNotAvailable:                  http.StatusServiceUnavailable,
}

// explain answers with a database error; detail is used where a value makes no sense and the database gives no hint.
// Errors that do not concern the caller are logged and not shown.
func (g *Gateway) explain(w http.ResponseWriter, err error, detail string) {
	if pgErr, is := errors.AsType[*pgconn.PgError](err); is {
		if pgErr.Code == sqlstate.InsufficientPrivilege && pgErr.Routine == "call_string_check_hook" { // from SET ROLE: not the caller's fault
			g.refuseAll(w, err)
			return
		}
		if status, known := statuses[pgErr.Code]; known {
			if status != http.StatusUnprocessableEntity || pgErr.Hint != "" {
				detail = pgErr.Hint
			}
			refuse(w, status, pgErr.Message, detail)
			return
		}
	}
	g.Log.Error("a request failed", slog.Any("error", err))
	refuse(w, http.StatusServiceUnavailable, "the request could not be served", "Try again.")
}

// refuseAll answers that the gateway's login lacks headway_user.
func (g *Gateway) refuseAll(w http.ResponseWriter, err error) {
	g.Log.Error("the gateway may not act as an end user: grant headway_user to its login", slog.Any("error", err))
	refuse(w, http.StatusServiceUnavailable, "the gateway may not act for anybody", "Its operator must allow it to.")
}

// authenticate returns who is calling, or answers that they are not authenticated.
func (g *Gateway) authenticate(w http.ResponseWriter, r *http.Request) (Identity, bool) {
	if !g.checkOrigin(w, r) {
		return Identity{}, false
	}
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	identity, err := g.Verifier.Verify(token)
	if !found || err != nil {
		detail := "Send Authorization: Bearer with a token from the application's backend."
		if found { // why, for whoever sets up the backend: nothing else tells (RFC 6750, section 3)
			detail = err.Error()
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "the token is not valid", detail)
		return Identity{}, false
	}
	return identity, true
}

// checkOrigin refuses pages that may not call the API, and sets the CORS headers for those that may.
func (g *Gateway) checkOrigin(w http.ResponseWriter, r *http.Request) bool {
	if !g.allowed(r) {
		refuse(w, http.StatusForbidden, "this page may not connect", "HEADWAY_ALLOWED_ORIGINS must list its origin.")
		return false
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH")
		h.Set("Access-Control-Max-Age", "600")
	}
	return true
}

// serveTicket exchanges a token for a ticket.
func (g *Gateway) serveTicket(w http.ResponseWriter, r *http.Request) {
	identity, end, ok := g.turn(w, r)
	if !ok {
		return
	}
	defer end()
	ctx, cancel := context.WithTimeout(r.Context(), reach)
	defer cancel()
	ticket, err := g.hub.store.issue(ctx, identity)
	if sqlstate.Of(err) == sqlstate.InsufficientPrivilege {
		g.refuseAll(w, err)
		return
	}
	if err != nil {
		g.explain(w, err, "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"ticket": ticket})
}

// refuse answers with a problem (RFC 9457).
func refuse(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": title, "detail": detail})
}
