## Headings and small words

heading-usage = Usage:
heading-commands = Commands
heading-arguments = Arguments
heading-options = Options
heading-common = Options of every command
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
try-help = See: { $command } --help

## Commands

about-sotong = Sotong runs socket servers, reaches them, and joins their ends to a terminal or a program.
details-sotong =
    Addresses are HOST:PORT or tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, unix:@NAME (abstract). localhost means IPv4
    and IPv6, *:PORT all interfaces, :PORT is localhost, and port 0 picks a free one and prints it.

    Exit codes: 0 done, 1 failed or cannot listen, 2 usage, 69 refused or unreachable, 75 no answer, 76 cut off by the
    peer, 78 impossible on this system or under this model, 130 and 143 ended by a signal.
about-echo = Send back what comes in (RFC 862)
about-discard = Take everything and answer nothing (RFC 863)
about-chargen = Send lines of characters without end (RFC 864)
about-daytime = Tell the date and the time as text (RFC 867)
about-time = Tell the time as seconds since 1900 in four bytes (RFC 868)
about-room = Run a line chat for people with nc: everybody sees each line, in one order
about-connect = Join a terminal or a pipe to an address
about-listen = Wait for a connection and join it to a terminal, a pipe or a program
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
examples-connect =
    sotong connect 127.0.0.1:12345
    sotong connect :12345 -m "hello"
    sotong connect -z -w 2s localhost:8888
    sotong connect -x udp://127.0.0.1:10013
examples-listen =
    sotong listen :9000
    sotong listen :9000 -k --exec cat
    sotong listen *:9000 -k --allow 10.0.0.0/8 --exec grep -- -i error
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

arg-addresses = Where to listen, one or several: HOST:PORT, tcp://…, udp://…, unix:PATH; port 0 picks one
arg-model = How connections are run: a thread for each, or event loops
arg-workers = Event loops, each on a thread of its own; the threads model needs none
arg-max-conns = Connections at once; else 16384, or as many as the descriptor limit leaves room for
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

## connect and listen

arg-connect-address = Whom to reach: HOST:PORT, tcp://…, udp://…, unix:PATH; every address of a name is tried
arg-listen-address = Where to wait: HOST:PORT, tcp://…, udp://…, unix:PATH; port 0 picks one and prints it
arg-message = Send this instead of what is typed, then read the answer to its end
arg-crlf = Send each end of line as CR LF
arg-check = Only find out whether somebody listens there: exit 0 open, 69 closed, 75 no answer
arg-hex = Show what goes by as hex, with its direction, on stderr
arg-log = Also write what goes by into a file
arg-timeout = Give up when connecting takes longer, or when nothing goes by for this long
arg-ipv4 = Use IPv4 only
arg-ipv6 = Use IPv6 only
arg-source = Own address to use
arg-retry = Times to try again, waiting 1 s, 2 s, 4 s and so on up to 30 s
arg-keepalive = Ask a silent peer after this long whether it is still there
arg-keep-open = Serve one client after the other, or many at once with --exec
arg-exec = Run this program for each connection, its input and output joined to the peer; its arguments follow --
arg-exec-args = The program's arguments
arg-allow = Let in only these networks, such as 10.0.0.0/8
arg-deny = Keep out these networks; stronger than --allow
arg-listen-max-conns = Connections at once

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
usage-why-too-large = it is too large
usage-why-range = it takes a whole number from { $low } to { $high }
usage-value-not-taken = '{ $flag }' takes no value.
usage-twice = '{ $flag }' can be given only once.
usage-conflict = '{ $flag }' cannot be used with '{ $other }'.
usage-not-unicode = an argument is not UTF-8 text.
usage-limits-marks = the output limits must rise: --output-low { $low } < --output-high { $high } < --output-hard { $hard }.
usage-limits-zero = '{ $flag }' must be at least 1.

## Other errors

error-write = cannot write { $what }: { $why }.
io-not-found = no such file or folder
io-permission = permission denied
io-storage-full = the disk is full
