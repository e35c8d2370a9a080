//! Who comes to a chat is looked up, by the system's resolver and by ident, in a server of its own.
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};
use tests::{conn::Folder, irc::Client, process, server::Server};

/// A server of a file with these settings, and where it is.
fn server(folder: &Folder, settings: &str) -> Server {
    let path = folder.path().join("chat.toml");
    fs::write(&path, format!("[[listen]]\naddress = '127.0.0.1:0'\n{settings}")).expect("written");
    Server::start(["chat", "--config", path.to_str().expect("UTF-8")])
}

/// What somebody is told who comes, up to his welcome.
fn come(server: &Server, nick: &str) -> Vec<String> {
    let mut client = Client::dial(server.address());
    client.say(&format!("NICK {nick}\r\nUSER u 0 * :u"));
    client.hear_until(&format!(" 001 {nick} :"))
}

#[test]
fn this_machine_by_its_name() {
    let folder = Folder::new();
    let shown = server(&folder, "[server]\nresolve_hostnames = true\ncloak_addresses = false\n");
    let heard = come(&shown, "minsu");
    assert!(heard[0].ends_with(" NOTICE * :*** Looking up your hostname..."), "{heard:?}");
    assert!(heard[1].contains("*** Found your hostname (localhost)"), "{heard:?}");
    assert!(heard[2].ends_with(" minsu!~u@localhost"), "{heard:?}");
    // Behind a proxy it is the address that counts: this one is for documents (RFC 5737), and has no name.
    let mut far = Client::dial(shown.address());
    far.say("PROXY TCP4 203.0.113.9 192.0.2.1 5555 8888\r\nNICK far\r\nUSER u 0 * :u");
    let heard = far.hear_until(" 001 far :");
    assert!(heard[1].ends_with("*** Couldn't look up your hostname"), "{heard:?}");
    assert!(heard[2].ends_with(" far!~u@203.0.113.9"), "{heard:?}");
    shown.stop();
    // Nothing is looked up where nobody has asked for it.
    let silent = server(&folder, "");
    assert_eq!(come(&silent, "minsu").len(), 1);
    silent.stop();
}

#[test]
fn the_user_of_a_connection() {
    let folder = Folder::new();
    let server = server(&folder, "[server]\ncheck_ident = true\n");
    // Only some may listen there; where nobody does, nobody answers.
    let listener = TcpListener::bind("127.0.0.1:113");
    let answers = listener.is_ok();
    if let Ok(listener) = listener {
        thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut asked = String::new();
            BufReader::new(stream.try_clone()?).read_line(&mut asked)?;
            stream.write_all(format!("{} : USERID : UNIX : minsu\r\n", asked.trim_end()).as_bytes())
        });
    }
    let heard = come(&server, "nick");
    assert!(heard[0].ends_with(" NOTICE * :*** Checking Ident"), "{heard:?}");
    let (told, user) = if answers { ("Got Ident response", "minsu") } else { ("No Ident response", "~u") };
    assert!(heard[1].contains(told), "{heard:?}");
    assert!(heard[2].ends_with(&format!(" nick!{user}@localhost")), "{heard:?}");
    // Nobody answers the next.
    let heard = come(&server, "next");
    if heard[1].contains("No Ident response") {
        assert!(heard[2].ends_with(" next!~u@localhost"), "{heard:?}");
    }
    server.stop();
}

#[test]
fn both_are_in_the_example() {
    let example = process::run(["chat", "--example-config"], b"");
    let text = String::from_utf8(example.stdout).expect("UTF-8");
    for setting in
        ["cloak_addresses = true", "resolve_hostnames = false", "check_ident = false", "lookup_time = \"5s\""]
    {
        assert!(text.lines().any(|line| line == setting), "{setting}");
    }
}
