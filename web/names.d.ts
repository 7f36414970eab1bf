// What TypeScript knows by the names of elements and of what they tell.

import type { HeadwayChat, HeadwayInbox, HeadwayPreferences, HeadwayProgress, HeadwayTasks } from "headway/elements";

declare global {
  interface HTMLElementTagNameMap {
    "headway-chat": HeadwayChat;
    "headway-inbox": HeadwayInbox;
    "headway-preferences": HeadwayPreferences;
    "headway-progress": HeadwayProgress;
    "headway-tasks": HeadwayTasks;
  }
  interface HTMLElementEventMap {
    "headway-complete": CustomEvent<{ project: number; user: number }>;
    "headway-open": CustomEvent<{ channel: string; project_id: number | null }>;
  }
}
