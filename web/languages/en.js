// What the elements say, in English. Words in braces are replaced; where there is a choice, `count` decides by the plural
// rules of the language.

/** @typedef {string | Partial<Record<Intl.LDMLPluralRule, string>>} Phrase */
/** @typedef {Record<keyof typeof english, Phrase>} Words all that the elements say */

/** @satisfies {Record<string, Phrase>} */
export const english = {
  // <headway-progress>
  progress_of: "Progress of {name}",
  done_of: "Done {done} of {total}",
  all_done: "All {total} done",
  nothing_to_do: "No tasks yet",
  customers: { one: "{count} customer", other: "{count} customers" },

  // <headway-tasks>
  open_tasks: "To do",
  done_tasks: "Done",
  no_open_tasks: "Nothing is left to do.",
  no_tasks: "No tasks yet.",
  due: "Due {date}",
  overdue: "Was due {date}",
  shared_task: "Done once for everybody",
  counts_as: "Counts as {weight}",
  waits_for: "Waits for {tasks}",
  now_done: { one: "“{title}” is done. {count} task left.", other: "“{title}” is done. {count} tasks left." },
  now_open: "“{title}” is open again.",
  quoted: "“{title}”",
  customers_list: "Customers",
  no_customers: "Nobody has joined yet.",
  tasks_of: "Tasks of {name}",

  // <headway-chat>
  conversation: "Conversation",
  message: "Message",
  write: "Write a message",
  send: "Send",
  older: "Show older messages",
  no_messages: "No messages yet.",
  you: "You",
  somebody: "Somebody",
  today: "Today",
  yesterday: "Yesterday",
  task_completed: "{name} completed “{title}”",
  task_completed_for: "{name} completed “{title}” for {other}",
  task_reopened: "{name} reopened “{title}”",
  task_assigned: "You were assigned “{title}”",
  because: "{what}: {reason}",

  // <headway-inbox>
  inbox: "Inbox",
  inbox_unread: { one: "Inbox, {count} unread message", other: "Inbox, {count} unread messages" },
  unread: { one: "{count} unread", other: "{count} unread" },
  muted: "no mail",
  mark_all_read: "Mark all read",
  all_read: "Everything is read.",
  announcements: "Announcements",
  activity: "{name}, activity",
  for_you: "For you",

  // <headway-preferences>
  mail_goes_to: "Mail to {email}, with everything that you have not read.",
  mail_has_no_address: "You have no mail address on file, so you get no mail.",
  mail_suspended: "No mail is sent to {email}: {reason}",
  mail_after: "Send it when something has been unread for",
  mail_after_default: "the usual time",
  minutes: { one: "{count} minute", other: "{count} minutes" },
  hours: { one: "{count} hour", other: "{count} hours" },
  days: { one: "{count} day", other: "{count} days" },
  quiet_hours: "No mail between",
  quiet_from: "No mail from",
  quiet_until: "No mail until",
  and: "and",
  no_quiet_hours: "Allow it at any time",
  time_zone: "Time zone",
  mail_about: "Mail about",
  saved: "Saved.",

  // all
  not_allowed: "You may not do that.",
  not_there: "That no longer exists.",
  not_now: "That cannot be done as things are now.",
  not_so: "That cannot be saved as it is.",
  busy: "The server is busy. Try again in a moment.",
  offline: "The server cannot be reached.",
};
