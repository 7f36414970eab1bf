// A socket.io server without any logic behind its Postgres adapter: whoever connects joins a room, and is sent what is
// emitted there by way of PostgreSQL. It prints its address.
import { createServer } from "node:http";

import { createAdapter } from "@socket.io/postgres-adapter";
import pg from "pg";
import { Server } from "socket.io";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
await pool.query("create table if not exists socket_io_attachments (id bigserial primary key, created_at timestamptz default now(), payload bytea)");

const server = createServer();
const io = new Server(server, { adapter: createAdapter(pool), perMessageDeflate: false, serveClient: false, transports: ["websocket"] });
io.on("connection", (socket) => {
  socket.join("project_1");
  socket.emit("hello");
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => console.log(`127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
