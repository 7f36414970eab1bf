import { onScopeDispose, ref, shallowRef, watch } from "vue";
import { Headway } from "headway";
import { use } from "headway/elements";

/**
 * Connects as a person, and as somebody else when that changes.
 * @param {import("vue").Ref<number>} user
 */
export function useHeadway(user) {
  const state = ref("closed");
  /** @type {import("vue").ShallowRef<import("headway").Project[]>} */
  const projects = shallowRef([]);

  watch(user, (id, _, onCleanup) => {
    const life = new AbortController();
    const headway = new Headway({ token: () => token(id) });
    const on = (type, act) => headway.addEventListener(type, act, { signal: life.signal });
    const read = () => (projects.value = [...headway.projects.values()].map((project) => ({ ...project })));
    on("state", () => (state.value = headway.state));
    on("snapshot", read);
    on("progress", read);
    onCleanup(() => {
      life.abort();
      headway.close();
      projects.value = [];
    });
    use(headway); // all elements
    headway.connect();
  }, { immediate: true });
  onScopeDispose(() => use(null));

  return { state, projects };
}

/** Asks the application's own backend. @param {number} user */
async function token(user) {
  const response = await fetch(`/token?user=${user}`, { method: "POST" });
  if (!response.ok) throw new Error(await response.text());
  return response.text();
}
