"""Print what happens in a headway channel, with asyncpg.

    python3 asyncpg_listener.py                     # the channel broadcast
    python3 asyncpg_listener.py project_1 --user 2  # a project, seen by Bob

DATABASE_URL, or PGHOST and the other PG* variables, select the database. While it runs,
say something in another terminal, with psql:

    insert into headway.message (sender, channel, content)
    select id, 'broadcast', 'Hello, demo application!'
    from headway.appuser where fullname = 'Abe';

A notification is a doorbell with a copy of the row. One that is sent while
nobody listens is lost; the row is not. So on every new connection this program
listens first, then reads from the tables what it has not shown yet, and then
shows the notifications that are newer than what it read. In a channel, seq
numbers the messages without gaps and in order of commit: the newest one shown
is all that there is to remember.
"""

import argparse
import asyncio
import json
import os
import random

import asyncpg

# How long to wait for a notification before looking into the tables, which
# also finds out whether the server is still there.
POLL_SECONDS = 30

LOST = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)


class Listener:
    """What was shown, and the connection that brings more."""

    def __init__(self, channel, user_id):
        self.channel = channel
        self.user_id = user_id
        self.seq = None  # of the newest message shown; None: not started
        self.version = 0  # of the newest progress shown
        self.connection = None

    async def run(self):
        """Listen until cancelled, over as many connections as it takes."""
        while True:
            try:
                await self.listen()
            except LOST as error:
                if self.seq is None:
                    raise  # it never worked: nothing to come back to
                say(f"Lost the connection, trying again: {error!r}")
            await asyncio.sleep(random.uniform(0.5, 1.5))

    async def listen(self):
        """Listen over one connection until it is lost."""
        self.connection = await asyncpg.connect(
            os.environ.get("DATABASE_URL"),
            command_timeout=10,
            server_settings={"application_name": "asyncpg_listener"},
        )
        arrived = asyncio.Queue()

        def on_notification(*notification):
            arrived.put_nowait(notification)

        def on_termination(_):
            arrived.put_nowait(None)

        self.connection.add_termination_listener(on_termination)
        try:
            await self.connection.add_listener(self.channel, on_notification)
            await self.come_back()
            say(f"Waiting for notifications on {self.channel} ...")
            while True:
                try:
                    notification = await asyncio.wait_for(
                        arrived.get(), POLL_SECONDS
                    )
                except asyncio.TimeoutError:
                    await self.read_messages()
                    continue
                if notification is None:
                    raise ConnectionError("the server closed it")
                await self.apply(*notification)
        finally:
            self.connection.terminate()

    async def come_back(self):
        """Read what the tables have and was not shown yet."""
        self.version = 0  # what is notified from now on is newer
        if self.user_id is not None:
            snapshot = await self.connection.fetchval(
                "select headway.snapshot($1)", self.user_id
            )
            if snapshot is None:
                raise SystemExit(f"There is no person {self.user_id}.")
            snapshot = json.loads(snapshot)
            show(f"SNAPSHOT for person {self.user_id}:", snapshot)
            for project in snapshot["projects"]:
                if self.channel == f"project_{project['project_id']}":
                    self.version = project["version"]
        last = await self.connection.fetchval(
            "select last_seq from headway.channel where name = $1",
            self.channel,
        )
        if last is None:
            raise SystemExit(f'There is no channel "{self.channel}".')
        if self.seq is None or self.seq > last:
            # It starts here, or the server is a standby that took over
            # without what came last, and uses its numbers again.
            self.seq = last
        await self.read_messages()

    async def read_messages(self):
        """Show the messages that no notification brought."""
        while rows := await self.connection.fetch(
            "select m.seq, to_json(m) as message"
            " from headway.messages_since($1, $2) m",
            self.channel,
            self.seq,
        ):
            for row in rows:
                message = json.loads(row["message"])
                show(f"READ from channel {self.channel}:", message)
                self.seq = row["seq"]

    async def apply(self, connection, pid, channel, payload):
        """Show what a notification brings, unless it was shown already."""
        try:
            event = json.loads(payload)
            progress = event["kind"] == "progress"
            position = int(event["version" if progress else "seq"])
        except (ValueError, TypeError, KeyError):
            return  # not headway's: any role may NOTIFY any channel
        title = (
            f"RECEIVED notification from {connection}[pid: {pid}]"
            f" on channel {channel}:"
        )
        if progress:
            if position > self.version:
                show(title, event)
                self.version = position
        elif position == self.seq + 1 and "content" in event:
            show(title, event)
            self.seq = position
        elif position > self.seq:
            # Too long for a notification, or one before it did not come.
            await self.read_messages()


def say(line):
    """Print a line now, also into a pipe."""
    print(line, flush=True)


def show(title, event):
    """Print a title and indented JSON."""
    say(title)
    say(json.dumps(event, indent=2, ensure_ascii=False))
    say("-" * 78)


def main():
    """Parse the command line and listen until Ctrl-c."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("channel", nargs="?", default="broadcast")
    parser.add_argument("--user", type=int, help="whose snapshot to read")
    arguments = parser.parse_args()

    say("Type Ctrl-c to exit")
    try:
        asyncio.run(Listener(arguments.channel, arguments.user).run())
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
