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

customElements.define("headway-chat", HeadwayChat);
customElements.define("headway-inbox", HeadwayInbox);
customElements.define("headway-preferences", HeadwayPreferences);
customElements.define("headway-progress", HeadwayProgress);
customElements.define("headway-tasks", HeadwayTasks);
