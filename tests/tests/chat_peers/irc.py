import ssl, sys, threading, irc.client, irc.connection

port, wire, nick = int(sys.argv[1]), sys.argv[2], sys.argv[3]
factory = irc.connection.Factory()
if wire == "tls":
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    factory = irc.connection.Factory(wrapper=context.wrap_socket)
reactor = irc.client.Reactor()
connection = reactor.server().connect("127.0.0.1", port, nick, connect_factory=factory)
connection.buffer_class.errors = "replace"
connection.add_global_handler("welcome", lambda c, e: c.join("#lobby"))
connection.add_global_handler("endofnames", lambda c, e: print("in the room", flush=True))
connection.add_global_handler("pubmsg", lambda c, e: print(e.arguments[0], flush=True))


def speak():
    for line in sys.stdin:
        connection.privmsg("#lobby", line.strip())


threading.Thread(target=speak, daemon=True).start()
reactor.process_forever(0.05)
