// What stands for your backend: it says who somebody is, with a token. Here people are whoever they say they are; yours
// knows from its session.

import { createHmac } from "node:crypto";

/** Returns a token for a person, good for some seconds. @param {number} userId @param {string} secret */
export function token(userId, secret, lasts = 3600) {
  const part = (data) => Buffer.from(JSON.stringify(data)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: String(userId), aud: "headway", iat: now, exp: now + lasts };
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

/** Has Vite answer to POST /token?user=2. @param {string} secret */
export function backend(secret) {
  const serve = ({ middlewares }) => {
    if (!secret) throw new Error("set HEADWAY_TOKEN_SECRET to that of the worker");
    middlewares.use("/token", (request, response) => {
      const user = new URL(request.url, "http://localhost").searchParams.get("user");
      response.setHeader("Cache-Control", "no-store");
      response.statusCode = request.method === "POST" && user ? 200 : 400;
      response.end(response.statusCode === 200 ? token(Number(user), secret) : "want POST /token?user=2");
    });
  };
  return { name: "backend", configureServer: serve, configurePreviewServer: serve };
}
