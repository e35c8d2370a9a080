//! The configuration of a chat: files that are wrong, listeners of each kind on real sockets, and files that change while
//! people are there.
use rustix::process::Signal;
use std::{fs, io::Read as _, path::Path, time::Instant};
use tests::{
    conn::{Conn, Folder},
    http,
    irc::Client,
    process,
    server::Server,
    tls,
};

/// Writes `text` into the folder's file, and gives back its name.
fn file(folder: &Folder, text: &str) -> String {
    let path = folder.path().join("chat.toml");
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn start(path: &str) -> Server {
    Server::start(["chat", "--config", path, "-v"])
}

/// What a file with mistakes is answered with: where it starts as well as where it is only checked.
#[test]
fn files_that_are_wrong_are_told_and_nothing_listens() {
    let folder = Folder::new();
    let listen = "[[listen]]\naddress = '127.0.0.1:0'\n";
    for (text, told) in [
        (format!("{listen}[limits]\nnick_lenght = 3\n"), "chat.toml:4:1"),
        (format!("{listen}[server\n"), "chat.toml:3:8"),
        (format!("{listen}tls_cert = 'missing.pem'\n"), "missing.pem"),
        (format!("{listen}[server]\nmotd_file = 'missing.txt'\n"), "missing.txt"),
    ] {
        let path = file(&folder, &text);
        for more in [&[][..], &["--check-config"]] {
            let done = process::run([&["chat", "--config", &path], more].concat(), b"");
            assert_eq!(done.code(), Some(78), "{text}");
            assert!(done.stderr.contains(told), "{text}: {}", done.stderr);
            assert!(done.stdout.is_empty() && !done.stderr.contains("listening"), "{text}: {}", done.stderr);
        }
    }
    let lost = process::run(["chat", "--config", "/no/such/file.toml"], b"");
    assert_eq!((lost.code(), lost.stderr.contains("no such file")), (Some(78), true), "{}", lost.stderr);
    fs::write(folder.path().join("chat.toml"), b"\xff\xfe").expect("written");
    let path = folder.path().join("chat.toml");
    let binary = process::run(["chat", "--config", path.to_str().expect("UTF-8")], b"");
    assert_eq!(binary.code(), Some(78), "{}", binary.stderr);
}

#[test]
fn the_line_is_shown_with_the_place_and_what_is_meant() {
    let folder = Folder::new();
    let path = file(&folder, "[server]\nnetwrk = \"학교\"\n");
    let done = process::run(["chat", "--check-config", "--config", &path], b"");
    let expect = format!(
        "error: {path} cannot be used: it has a mistake.\n\nthere is no setting 'netwrk' in [server]. Did you mean \
         'network'?\n --> {path}:2:1\n  |\n2 | netwrk = \"학교\"\n  | ^^^^^^\n"
    );
    assert_eq!(done.stderr, expect);
    let korean = process::run(["chat", "--check-config", "--config", &path, "--lang", "ko"], b"");
    assert!(korean.stderr.contains("[server] 구역에 'netwrk' 설정은 없습니다."), "{}", korean.stderr);
}

#[test]
fn the_example_can_be_used_as_it_is() {
    for lang in ["en", "ko"] {
        let folder = Folder::new();
        let example = process::run(["chat", "--example-config", "--lang", lang], b"");
        assert_eq!(example.code(), Some(0));
        let path = file(&folder, std::str::from_utf8(&example.stdout).expect("UTF-8"));
        let done = process::run(["chat", "--check-config", "--config", &path], b"");
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        assert!(done.stderr.ends_with(&format!("{path} is well.\n")), "{}", done.stderr);
        assert!(done.stderr.contains("[history] takes effect with a later version"), "{}", done.stderr);
        assert!(!folder.path().join("data").exists(), "who only checks makes nothing");
        // What listens there listens here, too, where the command line says another port.
        let server = Server::start(["chat", "--config", &path, "127.0.0.1:0"]);
        Client::registered(server.address(), "민수");
        server.stop();
        assert!(folder.path().join("data/chat.db").exists(), "what it keeps lies beside the file");
    }
}

#[test]
fn flags_that_contradict_a_file() {
    let folder = Folder::new();
    let path = file(&folder, "[[listen]]\naddress = '127.0.0.1:0'\n");
    for (more, told) in [
        (&["--network", "X"][..], "--network"),
        (&["--no-flood-control"], "--no-flood-control"),
        (&["--tls"], "--tls"),
        (&["--cert", tls::CERT], "--cert"),
        (&["--example-config"], "--example-config"),
    ] {
        let done = process::run([&["chat", "--config", &path], more].concat(), b"");
        assert_eq!(done.code(), Some(2), "{more:?}: {}", done.stderr);
        assert!(done.stderr.contains(told), "{more:?}: {}", done.stderr);
    }
    let done = process::run(["chat", "--check-config"], b"");
    assert_eq!(done.code(), Some(2), "{}", done.stderr);
}

#[test]
fn the_hash_of_a_password() {
    let done = process::run(["chat", "--hash-password"], "비밀번호\n".as_bytes());
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let hash = String::from_utf8(done.stdout).expect("UTF-8");
    let hash = hash.trim_end();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let folder = Folder::new();
    let path = file(&folder, &format!("[[oper]]\nname = 'admin'\npassword = '{hash}'\n"));
    let done = process::run(["chat", "--check-config", "--config", &path], b"");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(process::run(["chat", "--hash-password"], b"\n").code(), Some(78), "no password at all");
}

#[test]
fn each_listener_has_its_own_kind_and_certificate() {
    let folder = Folder::new();
    let other = folder.path().join("other.pem");
    fs::copy(tls::CERT, &other).expect("copied");
    let text = format!(
        "[[listen]]\naddress = '127.0.0.1:0'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nkind = 'irc'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nkind = 'text'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nkind = 'web'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nkind = 'websocket'\n\
         [[listen]]\naddress = '127.0.0.1:0'\ntls_cert = '{cert}'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nkind = 'irc'\ntls_cert = 'other.pem'\n\
         [[listen]]\naddress = 'unix:chat.sock'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nproxy = true\n",
        cert = tls::CERT
    );
    let server = start(&file(&folder, &text));
    let at = server.addresses().to_vec();
    assert_eq!(at.len(), 9, "{at:?}");
    let [auto, irc, text, web, socket, both, ircs, unix, proxied] = &at[..] else { unreachable!("nine") };
    let all: Vec<_> = [auto, irc, both, unix]
        .into_iter()
        .zip(["auto", "irc", "both", "unix"])
        .map(|(at, nick)| Client::registered(at, nick))
        .collect();
    // The same port in TLS; and the port where there is nothing else.
    Client::registered(&both.replace("tcp://", "tls://"), "within");
    Client::registered(&ircs.replace("tcp://", "tls://"), "ircs");
    let mut plain = Conn::dial(ircs);
    plain.send("NICK a\r\nUSER a 0 * :a\r\n");
    assert!(!String::from_utf8_lossy(&heard(&mut plain)).contains(" 001 "), "TLS alone is spoken there");
    // Everybody is asked for a name at once at a port for that.
    assert_eq!(Client::dial(text).try_hear().expect("a line"), "What is your name?\n");
    // A browser gets the page, and a client of IRC nothing that it would take for a server of its kind.
    let mut page = Conn::dial(web);
    page.send("GET / HTTP/1.1\r\nHost: x:1\r\n\r\n");
    assert_eq!(http::read(&mut page, true).status, 200);
    let mut socket = Conn::dial(socket);
    socket.send(
        "GET / HTTP/1.1\r\nHost: x:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert!(socket.get(12).starts_with(b"HTTP/1.1 101"));
    let mut behind = Client::dial(proxied);
    behind.say("PROXY TCP4 203.0.113.9 192.0.2.1 5555 8888\r\nNICK far\r\nUSER u 0 * :u");
    assert!(behind.wait_for(" 001 far :").ends_with(".cloak"), "who comes is whom the proxy brings");
    drop(all);
    server.stop();
    assert!(!Path::new(&unix.replace("unix:", "")).exists(), "the socket's file goes with the server");
}

/// The document at `/` says what start-up has said, as the browser reaches it: each way at the listener where it is open.
#[test]
fn the_page_says_the_ways_that_start_up_has_said() {
    let folder = Folder::new();
    let text = format!(
        "[[listen]]\naddress = '127.0.0.1:0'\nkind = 'web'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nkind = 'irc'\n\
         [[listen]]\naddress = '127.0.0.1:0'\nkind = 'text'\n\
         [[listen]]\naddress = 'tls://127.0.0.1:0'\ntls_cert = '{}'\n",
        tls::CERT
    );
    let path = file(&folder, &text);
    let mut server = start(&path);
    let at: Vec<String> = server.addresses().iter().map(|at| at.rsplit(':').next().unwrap_or("").to_owned()).collect();
    let [web, irc, text_port, secure] = &at[..] else { panic!("four: {at:?}") };
    let page = |at: &str, host: &str| {
        let mut conn = Conn::dial(at);
        let host = if host.is_empty() { String::new() } else { format!("Host: {host}\r\n") };
        let version = if host.is_empty() { "1.0" } else { "1.1" };
        conn.send(format!("GET / HTTP/{version}\r\n{host}\r\n"));
        String::from_utf8(http::read(&mut conn, true).body).expect("UTF-8")
    };
    let expect = [
        format!("irssi -c 127.0.0.1 -p {irc}"),
        format!("sotong connect ws://127.0.0.1:{web}/"),
        format!("nc 127.0.0.1 {text_port}"),
    ];
    let said = server.lines().join("\n");
    let plain = &server.addresses()[0].clone();
    for host in [&format!("127.0.0.1:{web}")[..], ""] {
        let told = page(plain, host);
        for command in &expect {
            assert!(told.contains(&format!("{command}\n")) || told.contains(&format!("{command} (")), "{told}");
            // The program is called by its file there, where it is on no PATH.
            let is_said = |line: &str| line.starts_with("try: ") && line.ends_with(&command[..]);
            assert!(said.lines().any(is_said), "{said}");
        }
        assert!(!told.contains("HOST") && !told.contains("PORT"), "{told}");
    }
    // Without a port it is that of the scheme; elsewhere, what is for this machine alone is not told.
    let told = page(plain, "chat.example");
    assert!(told.contains("sotong connect ws://chat.example:80/") && !told.contains("irssi"), "{told}");
    assert!(!told.contains("nc "), "{told}");
    // Within TLS it is TLS.
    let told = page(&server.addresses()[3].clone(), "localhost");
    for command in
        ["/connect -tls localhost 443", "sotong connect wss://localhost:443/", "sotong connect tls://localhost:443"]
    {
        assert!(told.contains(command), "{command}: {told}");
    }
    let told = page(&server.addresses()[3].clone(), &format!("localhost:{secure}"));
    assert!(told.contains(&format!("/connect -tls localhost {secure}\n")), "{told}");
    // What the file says otherwise after a reload, the page says too.
    file(&folder, &format!("{text}[server]\nlobby = '#광장'\n"));
    server.signal(Signal::HUP);
    server.line(&["configuration reloaded"]);
    assert!(page(plain, &format!("127.0.0.1:{web}")).contains("(you come into #광장)"));
    server.stop();
}

/// All that comes up to the end.
fn heard(conn: &mut Conn) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = conn.read_to_end(&mut bytes);
    bytes
}

#[test]
fn what_changes_is_so_for_those_who_are_there_and_nobody_is_dropped() {
    let folder = Folder::new();
    let text = |more: &str| format!("[[listen]]\naddress = '127.0.0.1:0'\n[server]\n{more}");
    let path = file(&folder, &text("motd = 'first'\n[limits]\nnick_len = 32\n"));
    let mut server = start(&path);
    let mut alice = Client::registered(server.address(), "alice");
    let mut bob = Client::registered(server.address(), "bob");
    alice.say("JOIN #lobby");
    bob.say("JOIN #lobby");
    alice.wait_for(":bob!~u@localhost JOIN #lobby");
    file(&folder, &text("motd = 'second'\n[limits]\nnick_len = 8\n"));
    server.signal(Signal::HUP);
    server.line(&["configuration reloaded"]);
    alice.say("MOTD");
    assert!(alice.wait_for(" 372 ").ends_with("second"));
    alice.say("NICK ninechars\r\nNICK eightchr");
    assert!(alice.wait_for(" 432 ").contains(" 432 alice ninechars "));
    bob.wait_for(":alice!~u@localhost NICK eightchr");
    // A file with a mistake changes nothing, and the log says what it is and where.
    file(&folder, &text("motd = 'third'\n[limits]\nnick_len = 'x'\n"));
    server.signal(Signal::HUP);
    let told = server.line(&["configuration not reloaded"]);
    assert!(told.contains("chat.toml:6:12: it takes a whole number"), "{told}");
    alice.say("MOTD");
    assert!(alice.wait_for(" 372 ").ends_with("second"));
    // Nor does one that is gone.
    fs::remove_file(&path).expect("removed");
    server.signal(Signal::HUP);
    let told = server.line(&["configuration not reloaded"]);
    assert!(told.contains("no such file"), "{told}");
    // What cannot change before the next start is told, and the rest changes.
    file(
        &folder,
        "data_dir = 'other'\n[[listen]]\naddress = '127.0.0.1:1'\n[server]\nname = 'new.name'\nmotd = 'fourth'\n",
    );
    server.signal(Signal::HUP);
    let told = server.line(&["these settings change with the next start"]);
    assert!(told.contains("data_dir, name, [[listen]]"), "{told}");
    server.line(&["configuration reloaded"]);
    bob.say("MOTD\r\nPRIVMSG #lobby :안녕");
    assert!(bob.wait_for(" 372 ").starts_with(":sotong.local 372 bob :"));
    assert!(alice.wait_for("PRIVMSG").ends_with("PRIVMSG #lobby :안녕"));
    Client::registered(server.address(), "carol");
    server.stop();
}

/// Nobody says a word: those who are there are told by the reload itself, each under whichever worker he is.
#[test]
fn a_reload_tells_who_wants_to_hear_of_capabilities() {
    let folder = Folder::new();
    let text = |more: &str| format!("[[listen]]\naddress = '127.0.0.1:0'\n[server]\n{more}");
    for model in ["uring", "epoll", "async", "threads"] {
        let path = file(&folder, &text(""));
        let mut server = Server::start(["chat", "--config", &path, "-v", "--model", model, "--workers", "2"]);
        let mut new: Vec<_> = (0..4).map(|_| Client::dial(server.address())).collect();
        for (client, number) in new.iter_mut().zip(0..) {
            client.say(&format!("CAP LS 302\r\nNICK new{number}\r\nUSER u 0 * :u\r\nCAP END"));
            client.wait_for(&format!(" 001 new{number} :"));
        }
        let mut old = Client::registered(server.address(), "old");
        file(&folder, &text("relaymsg = true\n[metadata]\nenabled = false\n[limits]\nnick_len = 20\n"));
        server.signal(Signal::HUP);
        server.line(&["configuration reloaded"]);
        for (client, number) in new.iter_mut().zip(0..) {
            let gone = client.wait_for(" DEL ");
            assert_eq!(gone, format!(":sotong.local CAP new{number} DEL :draft/metadata-2 draft/metadata-3"));
            assert_eq!(client.hear(), format!(":sotong.local CAP new{number} NEW :draft/relaymsg=/"));
            assert_eq!(
                client.hear(),
                format!(":sotong.local 005 new{number} NICKLEN=20 :are supported by this server")
            );
        }
        let told = old.hear_until(" NICKLEN=20 :");
        assert!(!told.iter().any(|line| line.contains(" CAP ")), "{told:?}");
        server.stop();
    }
}

#[test]
fn certificates_are_read_anew_with_the_file() {
    let folder = Folder::new();
    let cert = folder.path().join("cert.pem");
    fs::copy(tls::CERT, &cert).expect("copied");
    let path = file(&folder, "[[listen]]\naddress = 'tls://127.0.0.1:0'\ntls_cert = 'cert.pem'\n");
    let mut server = start(&path);
    let mut client = Client::registered(server.address(), "before");
    fs::write(&cert, "nothing\n").expect("written");
    server.signal(Signal::HUP);
    let told = server.line(&["configuration not reloaded"]);
    assert!(told.contains("cert.pem"), "{told}");
    Client::registered(server.address(), "between");
    fs::copy(tls::CERT, &cert).expect("copied");
    server.signal(Signal::HUP);
    server.line(&["configuration reloaded"]);
    Client::registered(server.address(), "after");
    client.say("PING x");
    client.wait_for("PONG");
    server.stop();
}

#[test]
fn a_password_that_is_hashed_in_the_file() {
    let folder = Folder::new();
    let done = process::run(["chat", "--hash-password"], b"secret\n");
    let hash = String::from_utf8(done.stdout).expect("UTF-8");
    let hash = hash.trim_end();
    let path = file(&folder, &format!("[[listen]]\naddress = '127.0.0.1:0'\n[server]\npassword = '{hash}'\n"));
    let server = start(&path);
    for (password, is_let_in) in [("secret", true), ("wrong", false), (hash, false)] {
        let mut client = Client::dial(server.address());
        client.say(&format!("PASS {password}\r\nNICK a\r\nUSER u 0 * :u"));
        let heard = client.hear();
        assert_eq!(heard.contains(" 001 a :"), is_let_in, "{password}: {heard}");
        assert_eq!(heard.contains(" 464 "), !is_let_in, "{password}: {heard}");
        client.say("QUIT");
    }
    server.stop();
}

#[test]
fn a_gateway_of_the_file() {
    let folder = Folder::new();
    let done = process::run(["chat", "--hash-password"], b"sesame\n");
    let hash = String::from_utf8(done.stdout).expect("UTF-8");
    let gateway = format!("[[webirc]]\nallowed_from = ['127.0.0.1']\npassword = '{}'\n", hash.trim_end());
    let path = file(&folder, &format!("[[listen]]\naddress = '127.0.0.1:0'\n{gateway}"));
    let server = start(&path);
    let mut brought = Client::dial(server.address());
    brought.say("WEBIRC sesame kiwi far.example 203.0.113.9\r\nNICK far\r\nUSER u 0 * :u");
    assert!(brought.wait_for(" 001 far :").ends_with(".cloak"), "who comes is whom the gateway brings");
    let mut wrong = Client::dial(server.address());
    wrong.say("WEBIRC wrong kiwi far.example 203.0.113.9\r\nNICK wrong\r\nUSER u 0 * :u");
    let heard = wrong.rest();
    assert_eq!(heard, "ERROR :Closing link: localhost (You are no gateway)\r\n");
    server.stop();
}

#[test]
fn what_is_registered_survives_a_restart() {
    let folder = Folder::new();
    let text = "[[listen]]\naddress = '127.0.0.1:0'\n[accounts]\npassword_hash_cost = 'test'\n";
    let path = file(&folder, text);
    let server = start(&path);
    let mut client = Client::registered(server.address(), "minsu");
    client.say("NS REGISTER long-secret");
    client.wait_for("Account created");
    server.stop();
    let server = start(&path);
    let mut client = Client::registered(server.address(), "guest");
    client.say("NS IDENTIFY minsu long-secret");
    client.wait_for(" 900 guest ");
    server.stop();
}

#[test]
fn two_servers_do_not_share_a_folder() {
    let folder = Folder::new();
    let path = file(&folder, "[[listen]]\naddress = '127.0.0.1:0'\n");
    let server = start(&path);
    let done = process::run(["chat", "--config", &path], b"");
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("another chat keeps its accounts in"), "{}", done.stderr);
    server.stop();
    start(&path).stop();
}

#[test]
fn no_throttle_where_the_file_says_so() {
    let folder = Folder::new();
    let path = file(&folder, "[[listen]]\naddress = '127.0.0.1:0'\n[limits]\nflood_control = false\n");
    let server = start(&path);
    let mut client = Client::registered(server.address(), "eager");
    let began = Instant::now();
    let count = 200;
    client.say(&(0..count).map(|number| format!("PING {number}\r\n")).collect::<String>());
    client.wait_for(&format!("PONG sotong.local :{}", count - 1));
    // At two a second it would have taken 97 s.
    assert!(began.elapsed().as_secs() < 48, "{:?}", began.elapsed());
    server.stop();
}
