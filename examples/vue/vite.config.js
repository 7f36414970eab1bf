import vue from "@vitejs/plugin-vue";
import { backend } from "./backend.js";

// The worker, with HEADWAY_HTTP_ADDR and HEADWAY_TOKEN_SECRET.
const proxy = { "/api": { target: process.env.HEADWAY_URL ?? "http://localhost:8080", ws: true } };

export default {
  plugins: [
    vue({ template: { compilerOptions: { isCustomElement: (tag) => tag.startsWith("headway-") } } }),
    backend(process.env.HEADWAY_TOKEN_SECRET),
  ],
  server: { proxy },
  preview: { proxy },
};
