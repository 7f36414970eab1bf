/// <reference path="./names.d.ts" preserve="true" />

// Ready-made elements on top of headway.js. Importing this defines them.
//
//   import { Headway } from "./headway.js";
//   import { use } from "./elements.js";
//   const headway = new Headway({ token });
//   use(headway);
//   headway.connect();

import { HeadwayChat } from "./elements/chat.js";
import { HeadwayInbox } from "./elements/inbox.js";
import { HeadwayPreferences } from "./elements/preferences.js";
import { HeadwayProgress } from "./elements/progress.js";
import { HeadwayTasks } from "./elements/tasks.js";

export { phrase, translate, use } from "./elements/base.js";
export { HeadwayChat, HeadwayInbox, HeadwayPreferences, HeadwayProgress, HeadwayTasks };

const elements = {
  "headway-chat": HeadwayChat,
  "headway-inbox": HeadwayInbox,
  "headway-preferences": HeadwayPreferences,
  "headway-progress": HeadwayProgress,
  "headway-tasks": HeadwayTasks,
};
// Not where a server renders a page, and not a second time.
for (const [name, element] of Object.entries(globalThis.customElements ? elements : {})) {
  if (!customElements.get(name)) customElements.define(name, element);
}
