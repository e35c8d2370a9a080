//! Accounts on real sockets: what was acknowledged is there after a restart, and after a kill; what could not be stored is not
//! acknowledged.
use rustix::process::Signal;
use std::{
    fs,
    io::ErrorKind,
    os::unix::net::UnixStream,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use tests::{
    conn::{Conn, Folder},
    irc::Client,
    process,
    server::Server,
    tls, tool,
};

/// A configuration whose hashes cost nothing, and whose data are in the folder.
fn configured(folder: &Folder, more: &str) -> String {
    let text = format!(
        "data_dir = 'kept'\n[[listen]]\naddress = '127.0.0.1:0'\n{more}\n[accounts]\npassword_hash_cost = 'test'\n\
         nick_is_account = false\n[limits]\nflood_control = false\n"
    );
    let path = folder.path().join("chat.toml");
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}
fn start(path: &str) -> Server {
    Server::start(["chat", "--config", path, "-v"])
}

fn enter(server: &Server, nick: &str) -> Client {
    Client::registered(server.address(), nick)
}
#[track_caller]
fn log_in(client: &mut Client, account: &str, password: &str) {
    client.say(&format!("NS IDENTIFY {account} {password}"));
    let answer = client.wait_for(":NickServ!NickServ@localhost NOTICE ");
    assert!(answer.contains(&format!("You're now logged in as {account}")), "{account}: {answer}");
}

#[test]
fn what_was_registered_is_there_after_a_restart_and_can_be_read_by_others() {
    let folder = Folder::new();
    let path = configured(&folder, "");
    let server = start(&path);
    let mut client = enter(&server, "민수");
    client.say("NS REGISTER 비밀번호");
    client.hear_until("Account created");
    client.say("NS SET email minsu@example.org");
    client.hear_until("Successfully changed");
    client.say("NS SET always-on on");
    client.hear_until("Successfully changed");
    client.say("JOIN #점심");
    client.hear_until(" 366 ");
    client.say("PING joined");
    client.hear_until(" PONG ");
    if process::has("sqlite3") {
        // While the server runs.
        let file = folder.path().join("kept/chat.db");
        let told = Command::new("sqlite3").arg(file).arg("SELECT name, email FROM accounts").output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&told.stdout), "민수|minsu@example.org\n");
    }
    server.stop();

    let server = start(&path);
    let mut other = enter(&server, "other");
    other.say("NAMES #점심");
    assert!(other.wait_for(" 353 ").contains("@민수"), "who is always on keeps the seat");
    other.say("NS IDENTIFY 민수 wrong");
    other.hear_until("Invalid account credentials");
    log_in(&mut other, "민수", "비밀번호");
    other.say("NS GET email");
    other.hear_until("minsu@example.org");
    server.stop();
}

/// What was acknowledged of keys and hosts is there after a kill, at log-in, where somebody is always on, and in a room.
#[test]
fn keys_and_hosts_are_there_after_a_kill() {
    let folder = Folder::new();
    let oper = "[[oper]]\nname = 'boss'\npassword = 'boss-password'\nclass = 'admin'\n";
    let path = configured(&folder, oper);
    let server = start(&path);
    let mut client = enter(&server, "minsu");
    client.say("METADATA * SET pronouns :before");
    client.hear_until(" 761 minsu minsu pronouns * :before");
    client.say("NS REGISTER secret");
    client.hear_until("Account created");
    client.say("NS SET always-on on");
    client.hear_until("Successfully changed");
    client.say("JOIN #a\r\nCS REGISTER #a");
    client.hear_until("successfully registered");
    client.say("OPER boss boss-password");
    client.hear_until(" 381 ");
    // A commit is awaited for each of them, and the last is heard of alone.
    client.say("METADATA * SET url :https://old.example/");
    client.say("METADATA #a SET url :https://room.example/");
    client.say("CHGHOST minsu users/minsu");
    client.say("METADATA * SET url :https://example.org/");
    client.hear_until(" 761 minsu minsu url * :https://example.org/");
    server.signal(Signal::KILL);
    server.end();

    let server = start(&path);
    let mut other = enter(&server, "other");
    let keys = |other: &mut Client, of: &str| -> Vec<String> {
        other.say(&format!("METADATA {of} LIST\r\nPING listed"));
        let heard = other.hear_until(" PONG ").into_iter();
        heard.filter_map(|line| Some(line.split_once(" 761 other ")?.1.to_owned())).collect()
    };
    assert_eq!(keys(&mut other, "minsu"), ["minsu pronouns * :before", "minsu url * :https://example.org/"]);
    assert_eq!(keys(&mut other, "#a"), ["#a url * :https://room.example/"]);
    other.say("WHOIS minsu");
    assert!(other.wait_for(" 311 ").contains(" minsu ~u users/minsu "));
    log_in(&mut other, "minsu", "secret");
    other.hear_until(" 396 other users/minsu :");
    other.say("METADATA * CLEAR\r\nMETADATA #a CLEAR\r\nPING cleared");
    other.hear_until(" PONG ");
    server.signal(Signal::KILL);
    server.end();

    let server = start(&path);
    let mut other = enter(&server, "other");
    assert!(keys(&mut other, "minsu").is_empty());
    server.stop();
}

/// Four clients make accounts as fast as they can, and the server is killed in the midst of it.
#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = Folder::new();
    let path = configured(&folder, "");
    let made = Arc::<Mutex<Vec<String>>>::default();
    for round in 0..3 {
        let server = start(&path);
        let before = made.lock().expect("no panic").len();
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (mut client, made) = (enter(&server, &format!("c{number}")), Arc::clone(&made));
                std::thread::spawn(move || make_accounts(&mut client, &format!("r{round}c{number}n"), &made))
            })
            .collect();
        while made.lock().expect("no panic").len() < before + 50 {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.signal(Signal::KILL);
        server.end();
        for client in clients {
            client.join().expect("no panic");
        }
    }
    let server = start(&path);
    let mut client = enter(&server, "who");
    let made = made.lock().expect("no panic").clone();
    assert!(made.len() >= 150);
    for name in made {
        log_in(&mut client, &name, "secret");
    }
    server.stop();
}

/// What its operator has been told of a registered room is there though the server is killed at once.
#[test]
fn what_is_echoed_of_a_registered_room_is_there_after_a_kill() {
    let folder = Folder::new();
    let path = configured(&folder, "");
    let mut server = start(&path);
    let mut client = enter(&server, "minsu");
    client.say("NS REGISTER secret");
    client.hear_until("Account created");
    client.say("JOIN #a\r\nCS REGISTER #a");
    client.hear_until(" MODE #a +q minsu");
    let again = |server: Server| {
        server.signal(Signal::KILL);
        server.end();
        let server = start(&path);
        let mut client = enter(&server, "minsu");
        log_in(&mut client, "minsu", "secret");
        client.say("JOIN #a");
        client.hear_until(" MODE #a +q minsu");
        (server, client)
    };
    for round in 0..3 {
        client.say(&format!("MODE #a +b user{round}!*@*"));
        client.wait_for(&format!(" MODE #a +b user{round}!*@*"));
        (server, client) = again(server);
        client.say("MODE #a b");
        let bans = client.hear_until(" 368 ").into_iter().filter(|line| line.contains(" 367 "));
        assert_eq!(bans.count(), round + 1);
        client.say(&format!("TOPIC #a :topic {round}"));
        client.wait_for(&format!(" TOPIC #a :topic {round}"));
        (server, client) = again(server);
        client.say("TOPIC #a");
        client.wait_for(&format!(" 332 minsu #a :topic {round}"));
    }
    client.say("RENAME #a #b");
    client.wait_for(" JOIN #b");
    server.signal(Signal::KILL);
    server.end();
    let server = start(&path);
    let mut client = enter(&server, "minsu");
    client.say("JOIN #b");
    client.wait_for(" 332 minsu #b :topic 2");
    server.stop();
}

/// A room that nobody has registered is after a restart as it was, where somebody is always on: closed to others.
#[test]
fn a_room_where_somebody_is_always_on_is_there_after_a_restart() {
    let folder = Folder::new();
    let path = configured(&folder, "");
    let server = start(&path);
    let mut client = enter(&server, "minsu");
    client.say("NS REGISTER secret");
    client.hear_until("Account created");
    client.say("NS SET always-on on");
    client.hear_until("Successfully changed");
    client.say("JOIN #solo\r\nMODE #solo +skb pw x!*@*\r\nTOPIC #solo :about\r\nMODE #solo");
    let modes = client.wait_for(" 324 minsu #solo ");
    let made = client.wait_for(" 329 minsu #solo ");
    client.say("TOPIC #solo");
    let topic = client.wait_for(" 333 minsu #solo ");
    server.stop();

    let server = start(&path);
    let mut other = enter(&server, "other");
    other.say("JOIN #solo");
    other.wait_for(" 475 other #solo ");
    other.say("WHOIS minsu");
    assert!(!other.hear_until(" 318 ").iter().any(|line| line.contains("#solo")), "it is secret");
    let mut client = enter(&server, "again");
    log_in(&mut client, "minsu", "secret");
    client.say("QUIT");
    client.rest();
    let mut client = Client::dial(server.address());
    client.say("CAP REQ sasl\r\nNICK minsu\r\nUSER u 0 * :u\r\nAUTHENTICATE PLAIN");
    client.hear_until("AUTHENTICATE +");
    client.say("AUTHENTICATE AG1pbnN1AHNlY3JldA==\r\nCAP END\r\nMODE #solo\r\nTOPIC #solo\r\nMODE #solo b");
    assert_eq!(client.wait_for(" 324 minsu #solo "), modes);
    assert_eq!(client.wait_for(" 329 minsu #solo "), made);
    assert_eq!(client.wait_for(" 333 minsu #solo "), topic);
    assert!(client.wait_for(" 367 minsu #solo ").contains(" x!*@* "));
    client.say("PART #solo\r\nPING parted");
    client.hear_until(" PONG ");
    server.stop();

    let server = start(&path);
    let mut other = enter(&server, "other");
    other.say("JOIN #solo");
    assert!(other.wait_for(" 353 other ").contains(" #solo :@other"), "it went with him");
    server.stop();
}

/// Makes one account after the other until the server is gone; notes what was acknowledged.
fn make_accounts(client: &mut Client, prefix: &str, made: &Mutex<Vec<String>>) {
    for number in 0.. {
        let name = format!("{prefix}{number}");
        if client.try_say(&format!("REGISTER {name} * secret\r\nNS LOGOUT")).is_err() {
            return;
        }
        let mut line = String::new();
        while !line.contains(" 901 ") {
            line = match client.try_hear() {
                Ok(line) if line.is_empty() => return,
                Ok(line) => line,
                Err(fault) => {
                    assert_eq!(fault.kind(), ErrorKind::ConnectionReset, "{fault}");
                    return;
                }
            };
            assert!(!line.contains("FAIL"), "{line}");
            // A line that was cut is no word of the server's.
            if line.contains(&format!("REGISTER SUCCESS {name} ")) && line.ends_with('\n') {
                made.lock().expect("no panic").push(name.clone());
            }
        }
    }
}

#[test]
fn two_servers_do_not_share_a_folder() {
    let folder = Folder::new();
    let path = configured(&folder, "");
    let server = start(&path);
    let second = process::run(["chat", "--config", &path, "--lang", "en"], b"");
    assert_eq!(second.code(), Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("another chat keeps its accounts in"), "{}", second.stderr);
    assert!(!second.stderr.contains("listening"), "{}", second.stderr);
    server.stop();
    start(&path).stop();
}

/// A sync that fails is final: who asked hears it, nothing is stored from then on, and people chat on.
#[test]
fn a_disk_that_fails_is_told_and_not_trusted_again() {
    let Some(strace) = tool::tool("strace") else { return };
    let folder = Folder::new();
    let path = configured(&folder, "");
    let server = start(&path);
    let mut client = enter(&server, "first");
    client.say("NS REGISTER secret");
    client.hear_until("Account created");
    server.stop();

    // The first sync fails, and all after it would succeed.
    let inject = "inject=fsync,fdatasync:error=EIO:when=1";
    let mut command = strace.command(["-D", "-f", "-qq", "-o", "/dev/null", "-e", inject]);
    command.arg(process::sotong()).args(["chat", "--config", &path, "-v"]);
    let mut server = Server::start_by(command);
    let mut client = enter(&server, "second");
    client.say("NS REGISTER secret");
    client.hear_until("The server cannot store anything now");
    client.say("REGISTER third * secret");
    client.hear_until("FAIL REGISTER TEMPORARILY_UNAVAILABLE third");
    client.say("NS INFO second");
    client.hear_until("There is no such account");
    log_in(&mut client, "first", "secret");
    server.wait_until("it says so", |server| server.count(&["the store has failed"]) > 0);
    server.stop();

    let server = start(&path);
    // What the disk has made of the account that failed nobody knows; the others are there, and it is written again.
    let mut client = enter(&server, "fourth");
    client.say("NS REGISTER secret");
    client.hear_until("Account created");
    log_in(&mut client, "first", "secret");
    server.stop();
}

/// A certificate that nobody vouches for opens an account by its fingerprint, and only that one.
#[test]
fn a_client_certificate_opens_an_account() {
    let folder = Folder::new();
    let cert = format!("tls_cert = '{}'\n", tls::CERT);
    let path = configured(&folder, &cert);
    let server = start(&path);
    let over_tls = |shows: bool, nick: &str| {
        let plain = Conn::dial(server.address().trim_start_matches("tls://"));
        let stream: UnixStream = tls::wrap_showing(plain, shows).expect("a handshake");
        let mut client = Client::over(Conn::Unix(stream));
        client.register(nick);
        client
    };
    let mut client = over_tls(true, "minsu");
    client.say("NS REGISTER secret");
    client.hear_until("Account created");
    client.say("NS CERT ADD");
    client.hear_until("Certificate fingerprint successfully added");
    client.say("QUIT");

    let mut client = over_tls(true, "again");
    client.say("AUTHENTICATE EXTERNAL");
    client.hear_until("AUTHENTICATE +");
    client.say("AUTHENTICATE +");
    client.hear_until(" 900 again again!");
    client.hear_until(" 903 ");

    let mut client = over_tls(false, "none");
    client.say("AUTHENTICATE EXTERNAL");
    client.hear_until("AUTHENTICATE +");
    client.say("AUTHENTICATE +");
    client.hear_until(" 904 ");
    server.stop();
}
