## Headings and small words

heading-usage = Usage:
heading-commands = Commands
heading-arguments = Arguments
heading-options = Options
heading-common = Options of every command
heading-tls = TLS
heading-ws = WebSocket
heading-limits = Limits
heading-examples = Examples:
heading-man-name = NAME
heading-man-synopsis = SYNOPSIS
heading-man-description = DESCRIPTION
usage-options = [OPTIONS]
help-choices = [one of: { $choices }]
help-default = [default: { $value }]
error-heading = error:
warning-heading = warning:
time-days = { $count }d
time-hours = { $count }h
time-minutes = { $count }m
time-seconds = { $count }s
time-milliseconds = { $count }ms
try-help = See: { $command } --help

## Commands

about-sotong = Sotong runs socket servers, reaches them, and joins their ends to a terminal or a program.
details-sotong =
    Addresses are HOST:PORT or tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, unix:@NAME (abstract), and for TLS
    tls://HOST:PORT and tls+unix:PATH; for WebSocket ws://HOST:PORT/PATH, with TLS wss://HOST:PORT/PATH, where the port may
    be left out. localhost means IPv4 and IPv6, *:PORT all interfaces, :PORT is localhost, and port 0
    picks a free one and prints it.

    A server says on stderr where it listens. Scripts take the word of that line that begins with tcp://, udp://, unix:,
    tls://, tls+unix:, ws:// or wss://, or the event "listening" of --log-format json. Listeners passed by LISTEN_FDS are used in place of the addresses.

    Exit codes: 0 done, 1 failed or cannot listen, 2 usage, 65 input that cannot be sent, 69 refused or unreachable, 75 no answer, 76 cut off by the
    peer, 77 a certificate refused, 78 impossible on this system or under this model, 130 and 143 ended by a signal.
details-units =
    Sizes (BYTES) are bytes, or have a unit: B, KiB, MiB, GiB. Times (TIME) are seconds, or have a unit: ms, s, m, h, d.
details-cert =
    The authority is made when it is first needed, and kept in $XDG_DATA_HOME/sotong/authority (else below
    ~/.local/share). Whoever has its key can be anybody to those who trust it: it never leaves that folder, and only its
    owner may read it.
details-cert-new =
    Writes NAME.pem, the certificate with the authority's behind it, and NAME-key.pem, its key, for the owner alone. NAME
    is the first name; its star becomes _wildcard. Both files are printed. Names in other letters than ASCII become A-labels.
details-cert-check =
    Exit codes: 0 fit, 77 something would be refused, 78 a file that cannot be used or a key that does not fit. A chain is
    whole if it ends with a self-signed certificate, or below one that this system or the local authority has.
about-echo = Send back what comes in (RFC 862)
about-discard = Take everything and answer nothing (RFC 863)
about-chargen = Send lines of characters without end (RFC 864)
about-daytime = Tell the date and the time as text (RFC 867)
about-time = Tell the time as seconds since 1900 in four bytes (RFC 868)
about-room = Run a line chat for people with nc: everybody sees each line, in one order
about-chat = Run a chat: IRC, WebSocket and people with nc in the same rooms, on one port
details-chat =
    The first bytes of a connection tell what is spoken: IRC, HTTP (WebSocket where it is asked for; else a page of text that
    says how to join), or a person with a terminal, who is asked for a name. With --tls or --cert, TLS is told by its first
    byte too.

    Accounts and registered rooms are kept in a folder (--data-dir); what was said is kept in memory and gone with the server. Who makes a
    room is its operator. Operators of the server, and all that can be set, stand in a file: --example-config prints one.
about-web = Serve a folder over HTTP and HTTPS, or a small page
details-web =
    DIR is the folder. An argument with a scheme or one that ends with :PORT is an address; a folder of such a name is
    written ./NAME. Nothing outside of DIR is ever served, symbolic links are not followed, and names that begin with a dot
    are left out.

    A file that was changed may be served as it was for a second more.
about-connect = Join a terminal or a pipe to an address
about-listen = Wait for a connection and join it to a terminal, a pipe or a program
about-cert = Make certificates with a local authority, and see what certificates say
about-cert-new = Issue a certificate for names and addresses, or for a client
about-cert-ca = Tell where the local authority's certificate is, and how to trust it
about-cert-list = List what the local authority has issued
about-cert-show = Show what the certificates of a file say
about-cert-check = Find what clients would refuse: dates, chain, key
about-models = Print the I/O models, which of them this machine can run, and why not the others
about-completions = Print the completions for a shell
about-man = Print the manual page, or write all of them into a folder
about-help = Print the help of sotong or of a command

examples-sotong =
    sotong echo                      # an echo server on 127.0.0.1:12345
    sotong connect 127.0.0.1:12345   # talk to it
    sotong room                      # a chat for everybody with nc, on 127.0.0.1:8888
    sotong help room                 # what the room can do
examples-echo =
    sotong echo
    sotong echo :0 --model threads
    sotong echo tcp://*:7007 udp://*:7007 unix:/tmp/echo.sock
    sotong echo tls://*:7443 --cert cert.pem --key key.pem
    sotong echo -vv --log-format json
examples-discard =
    sotong discard
    sotong discard udp://:10009
examples-chargen =
    sotong chargen
    sotong chargen tcp://:10019 udp://:10019
examples-daytime =
    sotong daytime
    sotong daytime tcp://:10013 udp://:10013
examples-time =
    sotong time
    sotong time tcp://:10037 udp://:10037
examples-room =
    sotong room                      # then, in other terminals: nc 127.0.0.1 8888
    sotong room *:8888 --workers 2
    sotong room unix:/tmp/room.sock
examples-chat =
    sotong chat                      # then: irssi -c 127.0.0.1 -p 8888, or nc 127.0.0.1 8888
    sotong chat '*:8888' --tls       # for the local network; TLS and plain on one port
    sotong chat :8888 tls://*:6697 --cert cert.pem --key key.pem
    sotong chat --motd hello.txt --network Class
examples-web =
    sotong web                       # a page at http://127.0.0.1:8080/
    sotong web .                     # this folder
    sotong web public *:8080 --workers 2
    sotong web ./dist :3000 --spa
    sotong web . :8080 --https        # HTTP and HTTPS on one port
    sotong web ~/in :8080 --upload --passwords people --access-log -
examples-connect =
    sotong connect 127.0.0.1:12345
    sotong connect :12345 -m "hello"
    sotong connect -z -w 2s localhost:8888
    sotong connect -x udp://127.0.0.1:10013
examples-listen =
    sotong listen :9000
    sotong listen :9000 -k --exec cat
    sotong listen *:9000 -k --allow 10.0.0.0/8 --exec grep -- -i error
examples-cert =
    sotong cert new localhost 127.0.0.1 ::1
    sotong cert ca                   # how to trust what it issues
    sotong cert check localhost.pem --key localhost-key.pem
examples-cert-new =
    sotong cert new localhost 127.0.0.1 ::1
    sotong cert new www.example.com *.example.com --out certs --days 90
    sotong cert new --client alice
examples-cert-ca =
    sotong cert ca
    sotong cert ca --pem > ca.pem
examples-cert-list =
    sotong cert list
    sotong cert list --json
examples-cert-show =
    sotong cert show localhost.pem
    sotong cert show - --json
examples-cert-check =
    sotong cert check localhost.pem --key localhost-key.pem
    sotong cert check one.pem two.pem --days 14
examples-models =
    sotong models
    sotong models --json
examples-completions =
    sotong completions bash > ~/.local/share/bash-completion/completions/sotong
    sotong completions zsh > ~/.zfunc/_sotong
    sotong completions fish > ~/.config/fish/completions/sotong.fish
examples-man =
    sotong man | man -l -
    sotong man ~/.local/share/man/man1
examples-help =
    sotong help
    sotong help room

## Options of every command

arg-lang = Language of help, start-up lines and errors; else LC_ALL, LC_MESSAGES and LANG decide
arg-verbose = Log what opens and closes, and why; twice: payloads too
arg-quiet = Write nothing but errors
arg-log-format = How log lines are written to stderr; json is one object a line, with stable names
arg-color = When to colour help and errors; auto honours NO_COLOR, CLICOLOR_FORCE and TERM=dumb
arg-help = Print help; --help tells more than -h
arg-version = Print the version

## Servers

arg-web-addresses = The folder, then where to listen, one or several: HOST:PORT, tls://HOST:PORT for HTTPS alone, unix:PATH; port 0 picks one
arg-index = The file that is shown for its folder
arg-no-list = Do not show what is in a folder without such a file
arg-hidden = Serve names that begin with a dot, too
arg-spa = A path that leads nowhere and has no ending shows the page of DIR itself: for applications with paths in the browser
arg-https = Take HTTPS at plain addresses, too, told by the first byte; --cert does as well
arg-upload = Take files: by the form on a folder's page, and by PUT. Anybody who reaches the server may send them; see --passwords
arg-overwrite = A file that is sent may take the place of one of the same name
arg-upload-max = How large a file that is sent may be
arg-passwords = Ask for a name and a password; FILE has NAME:HASH lines with hashes of --hash-password
arg-hash-password = Print the hash of the password on standard input, and do nothing else
arg-cors = Let pages of this origin read what is served (CORS); * is any origin
arg-access-log = Log each request to this file; - is standard error
arg-access-format = How requests are logged
arg-addresses = Where to listen, one or several: HOST:PORT, tcp://…, udp://…, unix:PATH, with TLS tls://… and tls+unix:PATH, WebSocket ws://… and wss://…; port 0 picks one
arg-model = How connections are run: one after the other, a thread for each, or event loops in processes or threads; see sotong models
arg-workers = Event loops, each on a thread or in a process of its own; sequential and threads need none
arg-idle = End a connection whose peer has sent nothing for this long; else it may stay silent
arg-server-keepalive = Ask a silent TCP peer after this long whether it is still there; 0 for never
arg-cert = Certificate for tls:// addresses, a PEM file with its chain; several are chosen by the name that a client asks for, and the first is for all others; without one, a self-signed certificate is made once and kept
arg-key = Private key of the certificate, a PEM file; for several, in the same order; else it is read from the certificate's file
arg-client-ca = Let in only clients whose certificate one of these authorities has issued, a PEM file
arg-client-auth = Whether clients must show a certificate; demand where --client-ca is given
arg-alpn = Application protocols offered to TLS clients, the best first, such as h2,http/1.1
arg-tls-min = Oldest version of TLS that is spoken; 1.2 unless it is given
arg-tls-max = Newest version of TLS that is spoken; 1.3 unless it is given
arg-tls-time = How long a TLS handshake may take; 10s unless it is given
arg-ws-origin = At ws:// addresses, let in pages of these origins too, such as https://example.org, or * for all; else only those of the host that was asked for (programs, which name no origin, always)
arg-ws-deflate = Offer or accept compressed messages (permessage-deflate), each on its own; they cost far more time than plain ones
arg-ws-message-bytes-max = Bytes of a message in all its fragments, and of what it inflates to; 64KiB unless it is given; a longer one ends its connection (1009)
arg-ws-fragments-max = Fragments of a message; 128 unless it is given; more end their connection (1008)
arg-keepalive = Ask a silent peer after this long whether it is still there
arg-members-max = People in the room at once
arg-server-name = What the server calls itself; a name with a dot in it
arg-network = What the network is called, one word
arg-lobby = The room that people with a terminal come into
arg-motd = The message of the day for IRC clients, a text file
arg-data-dir = Keep accounts and registered rooms in this folder
arg-config = Read everything from this file; --example-config prints one
arg-check-config = Check the file of --config, and do nothing else
arg-example-config = Print a commented file with every setting and its default, and do nothing else
arg-chat-addresses = Where to listen, one or several: HOST:PORT, tcp://…, unix:PATH, with TLS alone tls://… and tls+unix:PATH; WebSocket is spoken at each of them; port 0 picks one
arg-chat-tls = Take TLS at plain addresses, too, told by the first byte; --cert does as well
arg-no-flood-control = Neither slow commands down nor limit the connections of one address: for load tests
arg-line-bytes-max = A longer line ends its sender's connection
arg-name-tries-max = Bad or taken names that a newcomer may try
arg-name-time = How long a newcomer may take to give a name
arg-max-conns = Connections at once; else 16384, or as many as the descriptor limit leaves room for; always one under sequential; divided among processes, which have 16384 each without it
arg-retire = Under processes, how long a worker that SIGHUP has replaced serves its connections on before it ends them
arg-hold-idle = Under sequential, how long a client may be silent while others wait for its place
arg-hold-time = Under sequential, how long a client may hold the place in all while others wait
arg-output-low = Unsent output under which a full connection is read again
arg-output-high = Unsent output at which a connection is read no more
arg-output-hard = Unsent output at which a connection is cut off
arg-untaken-bytes-max = Input of one connection that waits to be understood; more ends it
arg-turn-bytes-max = Read from one connection before the others have their turn
arg-stall = A connection whose output makes no progress for this long is cut off
arg-linger = How long the leftover input of a closing connection is read and thrown away
arg-linger-bytes-max = How much of it
arg-drain = At shutdown, how long all connections together have to end; a second signal ends them at once
arg-udp-peers-max = UDP peers remembered for one address; the one idle for longest goes first
arg-udp-idle = A UDP peer is forgotten after this long without a datagram
arg-inbox-high = Messages waiting for one worker at which those who cause them are read no more
arg-mail-per-mail-max = Messages one message may cause
arg-memory-max = What may wait in memory for all connections together; at 90 % whoever has most waiting is cut off, at 95 % nobody is accepted; 0: no bound

## connect and listen

arg-connect-address = Whom to reach: HOST:PORT, tcp://…, udp://…, unix:PATH, tls://…, tls+unix:PATH, ws://… or wss://…; every address of a name is tried
arg-listen-addresses = Where to wait, one or several: HOST:PORT, tcp://…, udp://…, unix:PATH; port 0 picks one and prints it
arg-message = Send this instead of what is typed, then read the answer to its end
arg-crlf = Send each end of line as CR LF; what is CR LF already stays so
arg-check = Only find out whether somebody listens there, also of a range such as localhost:20-25: exit 0 open (any of them), 69 closed, 75 no answer; a silent UDP service is no answer
arg-hex = Show what goes by as hex, with its direction, on stderr
arg-log = Also write what goes by, both directions as they come, into a file
arg-timeout = Give up (exit 75) when connecting takes longer (instead of 30s; 3s for -z of a UDP port), or when nothing goes by for this long (else silence has no limit); over UDP, wait this long for answers after the input's end instead of 1s
arg-listen-timeout = Give up (exit 75) when nobody connects for this long (not with -k), or when nothing goes by for this long; else neither has a limit, but with -k or --exec a UDP peer is forgotten after 1m
arg-ipv4 = Use IPv4 only
arg-ipv6 = Use IPv6 only
arg-source = Own address, or address:port, to connect from
arg-listen-source = Own address to listen on, in place of each ADDR's host; address:port also gives a port where ADDR has 0
arg-retry = Times to try again, waiting 0.25 s, 0.5 s, 1 s and so on up to 10 s
arg-listen-retry = Times to try again while the address is in use, waiting 0.25 s, 0.5 s, 1 s and so on up to 10 s
arg-keep-open = Go on after the first client, with many at once: what is typed goes to all of them (one that takes nothing for 10s hears no more of it), what they say is printed as it comes
arg-exec = Run this program for each connection, its input and output joined to the peer, whose address is in SOTONG_PEER, ours in SOTONG_LOCAL; its arguments follow, as in a shell, or stand behind --
arg-exec-args = The program's arguments
arg-allow = Let in only these networks, such as 10.0.0.0/8
arg-deny = Keep out these networks; stronger than --allow
arg-listen-max-conns = Connections at once

## TLS of connect

arg-ca = Trust the authorities in this PEM file instead of the system's; a server's own certificate in it is trusted, too
arg-pin = Trust whoever shows the certificate with this SHA-256 fingerprint, and nobody else; names and dates do not count
arg-insecure = Trust anybody: whoever is on the way can read and change everything
arg-servername = The name to ask for and to be proved, where it differs from the host of ADDR
arg-starttls = Begin in plain text, and ask the server for TLS by its protocol first
arg-show-cert = Print what the server shows (certificates, names, dates, fingerprints, protocol and cipher) and leave; exit 77 if it is not trusted
arg-connect-json = With --show-cert: one JSON object with stable names
arg-keylog = Write the secrets of each session to this file, for those who decrypt captures; without =FILE, to the one that SSLKEYLOGFILE names
arg-connect-cert = Certificate to show where the server asks for one, a PEM file with those of its issuers behind it
arg-connect-key = Its private key, a PEM file; else it is read from the certificate's file
arg-connect-alpn = Application protocols to offer (ALPN), the best first, such as h2,http/1.1

## WebSocket of connect

arg-blocks = Send each block that is read as one binary message, and write what comes as it is; else each line is a text message without its end, and each message that comes gets an end of line
arg-ws-protocol = Subprotocols to offer, the best first
arg-ws-header = One more header field of the request, such as 'Authorization: Bearer …' or 'Origin: https://example.org'
arg-ws-quiet = After the end of the input, close once nothing has come for this long; 1s unless it is given

## completions, man, help

arg-shell = The shell
arg-folder = Where to write the pages
arg-command = The command

## Usage errors (exit code 2)

usage-unknown-flag = there is no flag '{ $flag }'.
usage-unexpected-value = '{ $value }' is one argument too many.
usage-unknown-command = there is no command '{ $command }'.
usage-similar = Did you mean '{ $like }'?
usage-missing-value = '{ $flag }' needs a value.
usage-missing-argument = this must be given: { $names }
usage-bad-choice = '{ $value }' is no value of '{ $flag }', which takes one of: { $choices }.
usage-bad-value = '{ $value }' is no value of '{ $flag }': { $why }
usage-why-size = a size is a number of bytes, or one with B, KiB, MiB or GiB
usage-why-time = a time is a number of seconds, or one with ms, s, m, h or d
usage-why-no-time = it must be longer than 0
usage-why-too-large = it is too large
usage-why-range = it takes a whole number from { $low } to { $high }
usage-why-fingerprint = a SHA-256 fingerprint is 64 hex digits, with or without colons
usage-why-host-name = it takes a host name or an IP address
usage-why-keylog = name a file (--keylog=FILE), or set SSLKEYLOGFILE
usage-why-server-name = a server's name is letters, digits, hyphens and dots, with a dot in it
usage-why-network-name = a network's name is one word of letters, digits and hyphens
usage-why-room-name = a room's name begins with #, and has no blanks, commas and stars in it
usage-server-name = '{ $text }' cannot be a name in a certificate; give the one to be proved by --servername.
usage-starttls = --starttls begins in plain text on a TCP or Unix address; '{ $address }' is none.
usage-value-not-taken = '{ $flag }' takes no value.
usage-twice = '{ $flag }' can be given only once.
usage-conflict = '{ $flag }' cannot be used with '{ $other }'.
usage-not-unicode = an argument is not UTF-8 text.
usage-limits-marks = the output limits must rise: --output-low { $low } < --output-high { $high } < --output-hard { $hard }.
usage-limits-zero = '{ $flag }' must be at least 1.
usage-needs-tls = '{ $flag }' is for TLS, which no address here speaks; write tls://HOST:PORT or tls+unix:PATH.
usage-needs-ws = '{ $flag }' is for WebSocket, which no address here speaks; write ws://HOST:PORT or wss://HOST:PORT.
usage-ws-in-file = '{ $flag }' is not for the chat, which speaks WebSocket at every address; what it allows there stands in its configuration file (--config).
usage-ws-request = '{ $text }' cannot stand in a request for a WebSocket.
usage-needs = '{ $flag }' needs '{ $other }'.
usage-keys = there { $certs ->
        [one] is one --cert
       *[other] are { $certs } --cert
    } and { $keys ->
        [one] one --key
       *[other] { $keys } --key
    }; give each certificate its key in the same order, or no --key where the files of the certificates hold the keys.
usage-alpn = '{ $name }' is no name of a protocol, which has 1 to 255 bytes.

## Other errors

error-write = cannot write { $what }: { $why }.
io-not-found = no such file or folder
io-permission = permission denied
io-storage-full = the disk is full
io-is-folder = it is a folder
io-no-folder = a part of the path is no folder
io-read-only = the file system is read-only

## Addresses

error-address = '{ $text }' is no address: { $why }.
address-empty = it is empty; write HOST:PORT, :PORT or unix:PATH
address-unknown-scheme = there is no scheme { $scheme }://; there are tcp://, udp://, unix:, tls://, tls+unix:, ws:// and wss://
address-unknown-scheme-like = there is no scheme { $scheme }://; perhaps { $like }: is meant
address-write = write { $form }
address-missing-port = the port is missing; write { $host }:PORT
address-port-alone = the host is missing; write :{ $port } for this machine only, or *:{ $port } for all its addresses
address-bad-port = '{ $port }' is no port; a port is a number from 1 to 65535, or 0 to listen on a free one
address-empty-host = the brackets hold no address
address-unbracketed = an IPv6 address goes into brackets; write [{ $text }]:PORT
address-bad-ipv6 = '{ $text }' is no IPv6 address in brackets; write [ADDRESS]:PORT
address-bad-ipv4 = '{ $text }' is no IPv4 address; it has four numbers from 0 to 255
address-bad-host = '{ $host }' is no host name; '{ $bad }' cannot be part of one
address-host-too-long = the host name has { $bytes } bytes; at most { $most } are possible
address-after-port = '{ $text }' does not belong there; an address ends with the port
address-bad-path = '{ $path }' is no path: '{ $bad }' cannot be part of one
address-path-too-long = the path has { $bytes } bytes, and at most { $most } are allowed
address-empty-unix = the Unix socket has no name; write unix:PATH or unix:@NAME
address-unix-host = write unix:/{ $path } for an absolute path, or unix:{ $path } for a relative one
address-unix-too-long = the name of the Unix socket has { $bytes } bytes, at most { $most } are possible; use a shorter or a relative path
address-unix-nul = the name of a Unix socket cannot hold a NUL byte
address-dial-port-zero = port 0 is for listening; name the port to connect to
address-dial-all = * is for listening; name the host to connect to
error-listen = cannot listen on { $at }: { $why }.
listen-in-use = somebody listens there already; stop it, or choose another port (port 0 picks a free one)
listen-low-port = port { $port } needs a privilege; choose one from 1024 up, or grant CAP_NET_BIND_SERVICE
listen-in-use-unix = somebody listens there already; stop it, or choose another path or name
listen-no-permission = the system does not permit it; choose another address, or run it as a user who may
listen-not-available = { $ip } is no address of this machine; choose one of its own, or * for all of them
listen-no-family = this machine has no { $family }; choose another address
listen-no-directory = there is no folder { $directory }; make it, or choose another path
listen-not-a-socket = { $path } exists and is no socket; remove it, or choose another path
listen-read-only = the file system is read-only; choose another path
listen-exhausted = no descriptor or memory is left; raise the limit (ulimit -n)
resolve-not-found = { $host } does not resolve ({ $reason }); check the name, or write the address itself
resolve-none-of-family = { $host } has no { $family } address
resolve-no-such-zone = this machine has no interface { $zone }
resolve-timed-out = { $host } was not resolved within { $seconds } s
resolve-busy = too many look-ups are unanswered; try again later
resolve-no-thread = no thread could be started for the look-up ({ $why })
system-says = { $call }: { $why }

## Servers: start, end and failure

serve-listening = sotong { $service }: listening on { $address } ({ $model }, { $workers ->
        [one] 1 worker
       *[other] { $workers } workers
    })
serve-listening-threads = sotong { $service }: listening on { $address } ({ $model })
serve-conns-capped = at most { $count ->
        [one] 1 connection
       *[other] { $count } connections
    } at once: the descriptor limit leaves no more; raise it (ulimit -Hn).
serve-try = try: { $command }
chat-in-irssi = in irssi: { $command }
chat-proxied = { $address }: whoever comes here is brought by a proxy, which says so by a PROXY header; nobody else is let in
chat-open = open to the local network, with TLS, once this one has ended: { $command }
chat-kept = accounts and registered rooms are kept in { $folder }
chat-forgets = accounts and rooms are gone when this server ends; --data-dir DIR keeps them
chat-folder-in-use = another chat keeps its accounts in { $folder }, so those of this one are gone when it ends; --data-dir DIR keeps them.
store-folder = { $path } cannot be used: { $why }.
store-in-use = another chat keeps its accounts in { $path }; stop that one, or name another folder.
store-later = { $path } was written by a later version of sotong; use that one.
store-bad = { $path } cannot be read: { $why }.
chat-page-what = This is the chat server of { $network }.
chat-page-irc = Join by an IRC client: { $command }
chat-page-irssi = Join by an IRC client, in irssi by: { $command }
chat-page-proxy = You have come through a proxy. By WebSocket, join at the address that your browser shows, with ws:// for http:// and wss:// for https://; whether it lets IRC clients and nc through, its owner knows.
chat-page-direct = Whoever reaches this server directly joins so:
chat-page-ws = Join by WebSocket, a line of IRC a message: { $command }
chat-page-nc = Join from a terminal: { $command } (you come into { $room })
serve-cert = certificate: { $file } for { $names }, until { $at }, SHA-256 { $fingerprint }
serve-cert-made = certificate: self-signed, made just now and kept in { $file }, SHA-256 { $fingerprint }
serve-cert-own = certificate: self-signed, kept in { $file }, SHA-256 { $fingerprint }
serve-stopping = sotong { $service }: stopping; connections have { $drain } to end, a second signal ends them at once
error-passed = the listeners passed by LISTEN_FDS cannot be used: { $why }.
passed-bad-count = LISTEN_FDS={ $value } is no number of descriptors
passed-missing = descriptor { $fd } is not open
passed-wrong-kind = descriptor { $fd } is no listening TCP or Unix socket and no UDP socket
passed-system = descriptor { $fd }: { $why }
error-streams-only = { $service } needs connections: it cannot listen on { $address }. Use tcp:// or unix:.
error-speaks-ws = the chat speaks WebSocket at every address, beside the rest, so { $address } is not written as one. Write { $instead }.
error-no-messages = { $command } speaks no WebSocket, so { $address } is no address for it. Use tcp:// or tls://.
error-sts = [sts] cannot be used: { $why }
error-read = { $path } cannot be used: { $why }.
passwords-line = line { $line } is not NAME:HASH with a hash that sotong web --hash-password printed
passwords-twice = line { $line } has a name that stood there before
passwords-empty = it has no names
web-password = Password:
error-folder = { $path } cannot be served: { $why }.
error-folder-unconfined = nothing is served: this kernel cannot confine names to a folder (openat2: { $why }). Linux 5.6 or later can, unless a sandbox forbids it.
error-model-one-at-a-time = { $service } cannot run under { $model }, which serves one connection at a time, while those of { $service } talk to each other; use one of { $able }.
error-model-memory-apart = { $service } cannot run under { $model }, whose workers share no memory, while the connections of { $service } talk to each other; use one of { $able }.
error-worker = this process was started as a worker and cannot be one: { $why }.
error-serve = the server broke down: { $why }.
error-signal = ended by signal { $number } before the connections had ended.

## connect and listen: results and failures

check-open = { $at }: open
check-closed = { $at }: closed
check-no-answer = { $at }: no answer
listen-listening = sotong listen: listening on { $address }
listen-exposed = anybody who reaches { $address } can run the program of --exec; limit that by --allow or --deny, or listen on localhost.
error-dial = cannot connect to { $to }: { $why }.
error-dial-target = cannot connect: { $why }.
error-dial-source = the own address { $from } is no { $family } address, so the two flags contradict each other.
dial-refused = nobody listens there; start the server, or check the port
dial-refused-unix = nobody listens there; start the server, or check the path or name
dial-unreachable = there is no way there; check the address and the network
dial-no-answer = no answer within { $time }; check the address, or wait longer with -w
dial-no-permission = the system does not permit it
dial-no-such-socket = there is no such socket; start the server, or check the path
dial-wrong-kind = that is no socket of this kind
dial-needs-zone = a link-local address needs its interface; write [ADDRESS%INTERFACE]
dial-source-not-available = { $from } is no address of this machine
dial-source-in-use = the own port { $port } is in use; choose another, or none
dial-source-no-permission = the own port { $port } needs a privilege; choose one from 1024 up
dial-no-local-port = no port of this machine is left
join-reset = { $peer } broke the connection off; what came may be incomplete.
join-idle = nothing went by for { $time } to or from { $peer } (-w).
join-nobody-came = nobody connected within { $time } (-w).
join-refused = nobody listens on { $peer }; start the server, or check the port.
join-connection = the connection with { $peer } failed: { $why }.
join-input = the input cannot be read: { $why }.
join-output = the output cannot be written: { $why }.
join-log = the log file cannot be written: { $why }.
join-program = cannot run { $program }: { $why }.
join-words = '{ $line }' is no program: { $why }.
words-empty = it is empty
words-open-quote = a quotation mark is not closed
words-open-escape = a backslash stands at the end
join-network = '{ $text }' is no network: { $why }.
cidr-bad-address = write an address, or ADDRESS/BITS such as 10.0.0.0/8
cidr-bad-bits = /{ $bits } is no length from 0 to { $most }
cidr-host-bits = write { $meant } for the network, or the address without a length
join-ports = '{ $text }' is no range of 1 to { $most } ports.
join-setup = the system has no room for one more connection: { $why }.
join-truncated = { $peer } ended without the end mark of TLS (close_notify); what came may be cut off.
join-untrusted = { $peer } is not trusted: { $why }. { $how }
join-client-cert = { $peer } wants a certificate of us and turned us away without one; give it by --cert and --key.
join-client-cert-refused = { $peer } refused the certificate of --cert: { $why }.
join-not-tls = { $peer } does not speak TLS; it said { $said }. Try tcp://, or --starttls.
join-tls = TLS with { $peer } failed: { $why }.
join-handshake = { $peer } did not finish the TLS handshake within { $time }; -w waits longer.
connect-speaks-tls = { $peer } answered with an alert of TLS, which it seems to speak; try tls://, or --starttls.
join-ws-refused = { $peer } granted no WebSocket; it answered { $status }. Check the path, and the port.
join-ws-truncated = { $peer } ended without the end mark of WebSocket (a Close frame); what came may be cut off.
join-ws-idle = { $peer } did not finish a handshake of WebSocket within { $time }; -w waits longer.
join-ws-not-text = the input is not UTF-8, so it cannot be sent as text; send it with --blocks.
join-ws = WebSocket with { $peer } failed: { $why }.
connect-insecure = the server's certificate is not checked (--insecure): whoever is on the way can read and change everything.
untrusted-expired = its certificate expired on { $date }
untrusted-not-yet = its certificate is not valid before { $date }
untrusted-issuer = its certificate was issued by { $issuer }, whom this system does not trust
untrusted-self-signed = its certificate is self-signed, so nobody else vouches for it
untrusted-name = its certificate is not for { $name }, but for { $names }
untrusted-no-name = its certificate is not for { $name }, and names no host at all
untrusted-revoked = its certificate has been revoked
untrusted-signature = a signature is false, so it is not who it claims to be
untrusted-encoding = its certificate cannot be read
untrusted-purpose = its certificate is not for servers
untrusted-authority = it shows an authority's certificate as its own
untrusted-version = its certificate is of the old X.509 version { $version }
untrusted-pin = its certificate has another fingerprint than the pinned one: { $seen }
untrusted-detail = { $detail }
trust-nothing = It cannot be trusted.
trust-new-pin = If it has a new certificate, pin that: --pin { $pin }
trust-ca = To trust it on purpose: --ca FILE with the authority's certificate, or --pin { $pin }
trust-name = If another name is meant: --servername NAME; to trust this very certificate: --pin { $pin }
trust-pin = To trust this very certificate on purpose: --pin { $pin }
shown-peer = { $peer }, asked for { $name }
shown-protocol = { $version }, { $cipher }, key exchange { $group }
shown-alpn = application protocol { $alpn }
shown-trusted = trusted
shown-untrusted = NOT trusted: { $why }
shown-client-asked = a client certificate was asked for, and none given

## Models

arg-json = Print one JSON object a model, with stable names
model-sequential = one connection at a time; the others wait
model-threads = a thread for each connection
model-processes = worker processes under a supervisor, an event loop in each
model-epoll = event loops that ask the kernel who is ready
model-async = event loops on Tokio
model-uring = event loops over io_uring
models-auto = taken where none is asked for
models-no-rooms = no rooms
models-unavailable = not here: { $why }
missing-forbidden = io_uring is not permitted here (by seccomp, or the sysctl kernel.io_uring_disabled)
missing-absent = this kernel has no io_uring, or a sandbox hides it
missing-memory = too little memory may be locked for io_uring (ulimit -l)
missing-lacks = this kernel's io_uring lacks something ({ $what })
serve-auto = model: { $model }, which this machine allows; --model chooses another
serve-auto-instead = model: { $model }, for { $why }; --model chooses another
error-model-unavailable = the model { $model } cannot run here: { $why }. Use --model epoll, or leave --model out.

## Pages of sotong web

web-page-root = Files
web-page-up = Up
web-page-name = Name
web-page-size = Size
web-page-changed = Changed (UTC)
web-page-empty = This folder is empty.
web-page-more = There are more files than are shown.
web-page-upload = Put a file here
web-page-send = Send
web-hello-title = Sotong is running
web-hello-what = This is the page of a web server that has been given no folder.
web-hello-next = To serve files, start it with one: sotong web DIR
## Certificates

arg-names = DNS names, with a star for the first part or without, and IP addresses; of a client, its name
arg-client = A certificate for a client, by which servers know it
arg-out = Folder to write into, made if need be
arg-force = Overwrite files that exist
arg-cert-new-days = Days that it is valid
arg-key-type = Kind of key; browsers take ecdsa only
arg-pem = Print the certificate itself, for programs
arg-cert-list-json = Print one JSON object a certificate, with stable names
arg-cert-show-json = Print one JSON object a certificate, with stable names
arg-file = File of certificates, PEM or DER; - is standard input
arg-files = Files of certificates, each the way a server shows it
arg-cert-check-key = File of the private key, to see whether it fits
arg-cert-check-days = Also find what expires within so many days
arg-cert-check-json = Print one JSON object a file, with stable names
certificate-names = names: { $names }
certificate-issuer = issued by: { $issuer }
certificate-self-signed = issued by: itself
certificate-valid = valid: { $from } to { $to } ({ $left })
certificate-left = { $days ->
        [one] 1 day left
       *[other] { $days } days left
    }
certificate-expired = { $days ->
        [one] expired 1 day ago
       *[other] expired { $days } days ago
    }
certificate-not-yet = not yet
certificate-key = key: { $key }
certificate-for-issuing = issues certificates
certificate-for-servers = for servers
certificate-for-clients = for clients
certificate-signature = signature: { $signature }
certificate-serial = serial number: { $serial }
certificate-fingerprint = SHA-256: { $fingerprint }
cert-authority-made = made a local authority: { $file } (sotong cert ca says how to trust it)
cert-new-server = a certificate for { $names }, valid until { $until }, and its key:
cert-new-client = a certificate for the client { $name }, valid until { $until }, and its key:
cert-list-empty = nothing was issued yet; sotong cert new NAME issues a certificate.
cert-list-gone = no longer there
cert-ca-file = file: { $file }
cert-ca-trust = What it issues is trusted by those that trust its certificate:
cert-ca-system = the programs of this system:
cert-ca-no-system = the programs of this system: add the file to its certificates of authorities as its manual says
cert-ca-browsers = Chromium (Firefox has its own dialog: settings, certificates, authorities):
cert-ca-programs = one program, only when it is told so:
cert-check-ok = { $file }: fit, { $left }
found-expired = { $subject } expired on { $at }; renew it.
found-expiring = { $subject } expires on { $at }; renew it before.
found-not-yet-valid = { $subject } is not valid before { $at }; check the clock of this machine.
found-incomplete = the chain is incomplete: the certificate of { $issuer } is neither in the file nor known to this system; add it behind the others.
found-disorder = the chain is out of order: { $subject } did not issue the certificate before it; put each behind the one that it issued.
found-old-version = { $subject } is of X.509 version { $version }, which many clients refuse; issue it with version 3.
found-no-names = { $subject } has its name in the subject only, where clients do not look; issue it with subjectAltName.
cert-unreadable = cannot read { $file }: { $why }.
cert-too-large = { $file } has more than { $most } MiB, so it is no file of certificates; check the name.
cert-no-certificate = there is no certificate in { $file }: { $holds }.
cert-no-key = there is no private key in { $file }: { $holds }.
holds-not-a-byte = it is empty
holds-key = it holds a private key; name the file of the certificate
holds-certificate = it holds a certificate; name the file of its key
holds-public-key = it holds a public key
holds-request = it holds a request; name the file of the certificate that was issued for it
holds-binary-certificate = it is binary; make PEM of it by openssl x509 -inform DER -in { $file }, or openssl pkcs12 -in { $file }
holds-binary-key = it is binary; make PEM of it by openssl pkey -inform DER -in { $file }
holds-no-certificate = PEM has a line -----BEGIN CERTIFICATE-----
holds-no-key = PEM has a line -----BEGIN PRIVATE KEY-----
cert-damaged = { $file } is damaged, cut short perhaps; copy it again from where it came.
cert-encrypted-key = the key in { $file } is encrypted, and a server cannot ask for a passphrase; write it without one: openssl pkey -in { $file } -out FILE.
cert-unsupported-key = the key in { $file } cannot be used; RSA from 2048 bits, ECDSA over P-256 and P-384, and Ed25519 can.
cert-key-mismatch = the key in { $key } does not fit the certificate in { $cert }; name the one that it was made with.
cert-leaf-not-first = the certificates in { $file } are out of order; the one that the key fits must be the first.
cert-expired = the certificate in { $file } expired on { $at }; renew it.
cert-not-yet-valid = the certificate in { $file } is not valid before { $at }; check the clock of this machine.
cert-no-identity = a server of TLS needs a certificate; name one with its key, or make one by sotong cert new.
cert-no-system-roots = this system has no certificates of authorities to check others by; install them (often the package ca-certificates), or name a file of them by --ca. SSL_CERT_FILE and SSL_CERT_DIR, where set, must name some.
cert-versions = no version of TLS is at least { $min } and at most { $max }.
cert-bad-pin = '{ $text }' is no fingerprint: SHA-256 has 64 hex digits, with or without colons.
cert-key-log = cannot write the key log { $file }: { $why }.
cert-bad-name = '{ $text }' is no name for a certificate: { $why }.
name-empty = it, or a part of it, is empty
name-too-long = it, or a part of it, is too long
name-character = '{ $bad }' cannot be part of it
name-hyphen = a part begins or ends with a hyphen
name-star = a star can only be the whole first part, as in *.example.com
name-numeric = it ends with a number, and is no IP address
name-idna = its letters make no name
cert-no-name = a certificate needs a name.
cert-authority-expired = the local authority expired on { $at }, and with it all it has issued; remove { $folder } to have a new one made, and trust that one.
cert-no-data-folder = there is no folder to keep the authority in; set XDG_DATA_HOME, or HOME, to one that begins with /.
cert-exists = { $file } exists already; --force overwrites it, --out DIR writes into another folder.
cert-locked = another process has held { $file } for 10 seconds; end that one, then try again.
cert-library = the cryptographic library does not work here: { $why }.
cert-key-readable = others may read the key in { $file } (mode { $mode }); make it yours alone: chmod 600 { $file }.
cert-expires-soon = the certificate in { $file } expires on { $at }; renew it soon.
cert-chain-disorder = the certificates in { $file } do not issue one another in their order, which many clients refuse; put each behind the one that it issued.

## The configuration of sotong chat

config-faults = { $file } cannot be used: { $count ->
        [one] it has a mistake.
       *[other] it has { $count } mistakes.
    }
config-more = There are { $count } more.
config-syntax = this is no TOML: { $why }.
config-unknown-top = there is no setting '{ $key }' before the first section.
config-unknown-key = there is no setting '{ $key }' in [{ $section }].
config-unknown-section = there is no section [{ $name }].
config-no-section = it is a section, and written { $written }.
config-range = it takes a whole number from { $low } to { $high }.
config-choice = '{ $value }' is none of: { $choices }.
config-value = { $why }.
config-datagrams = a chat needs connections; udp:// has none.
config-ws-address = write the address without ws://, and kind = "websocket" below it.
config-too-many = [[{ $name }]] may stand { $most } times at most.
config-too-long = it is longer than { $most } bytes.
config-missing = [[{ $section }]] needs '{ $key }'.
config-conflict = '{ $other }' is set, too, and only one of them can be.
config-needs = it means nothing without '{ $other }'.
config-twice = { $value } stands there twice.
config-control = there is a control character in it.
config-word = it takes one word without blanks.
config-vhost = it takes at most 63 letters, digits, dots, hyphens, colons and slashes.
config-origin = it takes an origin such as https://example.org, or *.
config-hash = this hash is damaged; sotong chat --hash-password prints one.
config-user-mode = nobody can have the mode '{ $mode }' from the beginning.
config-must-be-less = it must be less than '{ $other }'.
config-must-be-more = it must be more than '{ $other }'.
config-not-off = this limit cannot be turned off, for it bounds what is held in memory or has to fit into a line: it takes a whole number from { $low } to { $high }.
config-time-not-off = this limit cannot be turned off, for whoever is waited for holds what others need: it must be longer than 0.
config-sts-no-listener = no [[listen]] section has the port { $port } for clients of IRC; name the port of one that has tls_cert.
config-sts-no-certificate = the [[listen]] section of port { $port } names no tls_cert. Clients that are told to come by TLS alone accept only a certificate that somebody vouches for: name one there, or write enabled = false.
config-sts-self-signed = { $file } is self-signed. Clients that are told to come by TLS alone would be locked out: take a certificate of an authority that they trust, or write enabled = false.
config-type-text = it takes a text between quotation marks.
config-type-number = it takes a whole number, without quotation marks.
config-type-bool = it takes true or false, without quotation marks.
config-type-time = it takes a time such as "90s", or a number of seconds.
config-type-size = it takes a number of bytes, or a size such as "64KiB".
config-type-list = it takes a list between brackets.
config-ok = { $file } is well.
config-history-later = { $file }: what is said under [history] takes effect with a later version; until then messages are kept in memory.

config-about =
    The configuration of sotong chat. Every setting stands here with the value that it has where it is not written.
    Check it: sotong chat --check-config --config FILE
    Use it: sotong chat --config FILE
    Change it while the chat runs: edit it, then send SIGHUP, or as an operator REHASH. Nobody is put out by that, and a file with mistakes changes nothing. What cannot change without a new start is marked (start).
    Times are "500ms", "90s", "10m", "2h", or a number of seconds; sizes are a number of bytes, or "64KiB", "1MiB".
config-top-data-dir = Where everything is kept that outlives a restart, relative to this file. (start)
config-server = The server, as it appears on the wire.
config-server-name = What the server calls itself: letters, digits, hyphens and dots, with a dot in it. (start)
config-server-network = What the network is called, in one word. (start)
config-server-description = What the server says of itself in LINKS and WHOIS; empty: the network's name.
config-server-lobby = The room that people with nc come into.
config-server-password = What everybody must give by PASS, and with a terminal when asked for it: plain, or as sotong chat --hash-password prints it. Empty: nothing.
config-server-casemapping = Which letters are one in names: those of ASCII. Others have no case, or are told apart. (start)
config-server-motd = The message of the day, a text of several lines between three quotation marks.
config-server-motd-file = The same from a file.
config-server-cloak-addresses = Shows a hidden form of where somebody is from. Else others see the address, or its name where that is looked up.
config-server-resolve-hostnames = Looks up the name of who comes; it counts only if it has that address itself. It is shown where addresses are not hidden; operators see it, and KLINE covers it, in any case.
config-server-check-ident = Asks the machine that somebody comes from for his user (ident, RFC 1413), who then has no ~ before him.
config-server-allowed-origins = Pages of these origins may open a WebSocket, beside the server's own: "https://example.org", or "*" for all.
config-server-proxy-allowed-from = Who may say by a PROXY header on whose behalf he comes: addresses and networks such as "10.0.0.0/8".
config-server-default-user-modes = Modes that everybody has from the beginning, such as "i".
config-server-relaymsg = Lets bots of bridges speak under other people's names that contain a slash (RELAYMSG).
config-server-roleplay = Lets people speak as somebody else in rooms of mode E (NPC, SCENE).
config-listen =
    Where the chat listens. The section may stand several times, once for each address. (start)
    ADDR on the command line takes the place of all of these.
config-listen-address = HOST:PORT, :PORT, *:PORT, [::1]:PORT, unix:PATH, or tls://HOST:PORT where only TLS is spoken.
config-listen-kind = auto: what the client speaks. irc, websocket, text (for nc) and web: that alone.
config-listen-proxy = A proxy stands before it and sends a PROXY header. Then addresses of this machine are counted, too.
config-listen-tls = Speaks TLS with a certificate of its own, where tls_cert names none. At kind = "auto" plain clients come in, too; at other kinds only TLS.
config-listen-tls-cert = The certificate with its chain, a PEM file. It is read anew on SIGHUP.
config-listen-tls-key = Its key, where it is not in the same file.
config-accounts = Accounts, and who may have one.
config-accounts-register = People may make accounts: by NickServ, or by REGISTER.
config-accounts-register-before-connect = They may before they have entered.
config-accounts-email-required = An account needs an address of electronic mail. It is kept for the operators, and nothing is sent to it.
config-accounts-nick-is-account = A nick that is the name of an account belongs to it alone.
config-accounts-multiclient = Several clients of one account share a nick.
config-accounts-always-on = Who keeps nick and rooms while no client is there: off, opt-in, opt-out or mandatory.
config-accounts-password-hash-cost = default, or test: the cheapest there is, for suites of tests only. (start)
config-accounts-login-attempts = Passwords that may be tried in a minute, for one account from one address. 0: any number.
config-history = What was said. Until a later version messages are kept in memory alone; only keep_messages counts there, and the others are checked.
config-history-enabled = Whether messages are kept.
config-history-durability = durable: what is acknowledged is on disk. relaxed: a power cut may lose the last moments.
config-history-chathistory-max = Messages that a request may ask for.
config-history-znc-max = The same for clients that ask as they ask ZNC.
config-history-redact-own = People may take back what they have said.
config-history-store-tagmsg = TAGMSG with these tags are kept.
config-history-keep-days = Days that messages are kept. 0: for ever.
config-history-keep-messages = Messages of a room that are kept, in memory, too. 0: all.
config-metadata = What people say of themselves and of their rooms, key by key.
config-metadata-enabled = Whether they can.
config-metadata-max-subs = Keys whose changes a client may ask to be told of. 0: no limit.
config-metadata-max-keys = Keys of one person or room. 0: no limit but 64 KiB of them.
config-metadata-before-connect = They may before they have entered.
config-sts = Tells clients to come by TLS alone (IRCv3 STS). They remember it, and come by nothing else as long as they do: switch it on once TLS works for everybody.
config-sts-enabled = Whether they are told.
config-sts-port = The port that they are sent to: that of a [[listen]] section with tls_cert, which is not self-signed.
config-sts-duration = How long they remember it. To take it back, write 0 and leave it enabled until all have been here.
config-sts-preload = Whether programs may be shipped with it.
config-limits = Limits. 0 means no limit where that is said.
config-limits-nick-len = Characters of a nick.
config-limits-channel-len = Characters of a room's name.
config-limits-topic-len = Bytes of a topic.
config-limits-kick-len = Bytes of a reason to put out, to leave and to quit.
config-limits-away-len = Bytes of what is said by AWAY.
config-limits-realname-len = Bytes of a real name.
config-limits-key-len = Bytes of a room's key.
config-limits-list-modes = Entries of each of a room's lists (bans and their like). 0: no limit.
config-limits-modes = Changes in one MODE. 0: as many as a line has room for.
config-limits-targets = Targets of one message. 0: as many as a line has room for.
config-limits-channels = Rooms that somebody is in at once. 0: no limit.
config-limits-monitor = Nicks that somebody watches. 0: no limit.
config-limits-whowas = Nicks that are remembered for WHOWAS. 0: none.
config-limits-multiline-bytes = Bytes of a message of several lines.
config-limits-multiline-lines = Lines of it. 0: no limit but its bytes.
config-limits-receive-queue-bytes = What may come without the end of a line; of that, what is longer than a line with its tags (4,608 bytes) is thrown away.
config-limits-send-queue-low-bytes = Whoever has left no more than this unread is heard again. Less than send_queue_high_bytes. (start)
config-limits-send-queue-high-bytes = Whoever has left more than this unread is not heard until he has read. Less than send_queue_bytes. (start)
config-limits-send-queue-bytes = What a client may leave unread before it is cut off. (start)
config-limits-memory-bytes = What may wait in memory for all connections together. At 90 % whoever has most waiting is cut off, at 95 % nobody is let in. 0: no limit. (start)
config-limits-stall-time = Who reads nothing for so long, while there is something to read, is cut off. (start)
config-limits-drain-time = At the end of the server its connections have this long to end. (start)
config-limits-flood-control = false: commands and new connections are not slowed down, for load tests. Log-ins keep login_attempts.
config-limits-commands-at-once = Commands that are taken at once. 0: no limit.
config-limits-command-time = What each further command costs. 0: nothing.
config-limits-connections = Connections of the server, at most as many as the system's limit of descriptors leaves room for. 0: that many. (start)
config-limits-connections-per-address = Connections of one address at once. 0: no limit, nor on new ones. Addresses of this machine are exempt.
config-limits-new-connections-per-address = New connections of one address in 10 minutes. 0: no limit.
config-limits-new-accounts-per-address = Accounts made from one address in 10 minutes. 0: no limit.
config-limits-accounts-max = Accounts of the server. 0: no limit.
config-limits-registered-rooms-max = Registered rooms of the server. 0: no limit.
config-limits-rooms-per-account-max = Registered rooms of one account. 0: no limit.
config-limits-certs-per-account-max = Certificates of one account. 0: no limit.
config-limits-password-bytes = Bytes of a password.
config-limits-log-bytes = Memory for what is kept of what was said, in all; the oldest goes first.
config-limits-registration-time = Who comes must have entered within this time. 0: no limit.
config-limits-lookup-time = He waits for so long for what is looked up of him, and then comes in without.
config-limits-registration-lines = Lines that he may use for it. 0: no limit.
config-limits-ping-after = Who is silent for so long is asked whether he is there. 0: nobody is asked.
config-limits-cut-after = Who is silent for so long is cut off. 0: nobody is cut off.
config-limits-held-answers = Commands whose answers wait for something that is under way.
config-limits-name-time = A person with nc gives the password of the server, if there is one, and a name within this time. 0: no limit.
config-limits-name-tries = Names that he may try; and passwords. 0: no limit.
config-limits-proxy-time = A proxy says whom it brings within this time. 0: no limit.
config-limits-tls-handshake-time = A TLS handshake is done within this time. (start)
config-limits-http-head-time = The head of a request has come within this time. 0: no limit.
config-limits-http-idle-time = A connection without a request is closed after this time. 0: never.
config-limits-http-head-bytes = Bytes of the head of a request.
config-limits-http-target-bytes = Bytes of what is asked for. Less than http_head_bytes.
config-limits-http-fields = Fields of the head.
config-limits-websocket-upgrade-time = A WebSocket is open within this time. 0: no limit.
config-limits-websocket-message-bytes = Bytes of a message of WebSocket, inflated where it was compressed. Its control frames have 125, as RFC 6455 says.
config-limits-websocket-fragments = Pieces of such a message. 0: no limit.
config-limits-websocket-deflate = true: messages of WebSocket may be compressed, which costs the processor many times what plain ones do.
config-webirc = Gateways, such as that of a page for IRC, that say by WEBIRC where those are from whom they bring. The section may stand several times.
config-webirc-allowed-from = From where it comes: addresses and networks.
config-webirc-password = As sotong chat --hash-password prints it; plain for tests only. A hash is computed for each client that it brings. Empty: the certificate alone is enough.
config-webirc-certificate = The SHA-256 fingerprint of a client certificate that the gateway must show.
config-oper = Operators, by OPER NAME PASSWORD. The section may stand several times.
config-oper-name = The name.
config-oper-password = As sotong chat --hash-password prints it; plain for tests only. Empty: the certificate alone is enough.
config-oper-certificate = The SHA-256 fingerprint of a client certificate that the operator must show.
config-oper-class = What he may do: admin (all), moderator (put people out and keep them out), helper (see more).
config-oper-vhost = What is shown as his host from then on.
