import asyncio, sys, threading, pydle

port, wire, nick = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Guest(pydle.Client):
    async def on_connect(self):
        await super().on_connect()
        await self.join("#lobby")

    async def on_join(self, channel, user):
        await super().on_join(channel, user)
        if user == self.nickname:
            print("in the room", flush=True)

    async def on_channel_message(self, target, by, message):
        await super().on_channel_message(target, by, message)
        # It asks for its own words, too.
        if by != self.nickname:
            print(message, flush=True)


async def main():
    guest = Guest(nick, realname="x")
    await guest.connect("127.0.0.1", port, tls=wire == "tls", tls_verify=False)
    loop = asyncio.get_running_loop()

    def speak():
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(guest.message("#lobby", line.strip()), loop)

    threading.Thread(target=speak, daemon=True).start()
    await asyncio.Event().wait()


asyncio.run(main())
