//! Looking up who comes to a chat: names of addresses by the system's resolver, and users by ident (RFC 1413).
use socket2::{Domain, Socket, Type};
use sotong_chat::{
    Mail,
    books::{Answer, Ask, Ticket},
    lookups::{Find, host_name},
};
use sotong_drivers::DeskWork;
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

/// Finds names of addresses. The system's resolver takes its time, and cannot be told to hurry: a desk has four threads, and
/// nobody waits for them when the server ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names;

/// Asks the machines that clients come from for their users.
#[derive(Clone, Copy, Debug)]
pub struct Idents {
    port: u16,
    time_max: Duration,
}

/// Where such a machine is asked (RFC 1413 §2).
pub const IDENT_PORT: u16 = 113;
/// How long it may take in all: 3 s. Who has something to say has it at hand; where a firewall says nothing, no more is lost.
pub const IDENT_TIME_MAX: Duration = Duration::from_secs(3);
/// Octets of its answer (RFC 1413 §5).
const ANSWER_BYTES_MAX: usize = 1000;
/// Octets of a user's name (RFC 1413 §5).
const USER_BYTES_MAX: usize = 512;

impl Idents {
    /// Asks at this port, and waits for so long at most.
    pub fn new(port: u16, time_max: Duration) -> Self {
        Self { port, time_max }
    }
    /// The user whose connection this is; `None` where nobody says so in time.
    pub fn user(&self, local: SocketAddr, remote: SocketAddr) -> Option<Box<str>> {
        let until = Instant::now() + self.time_max;
        // The one at the other end answers only those whom the connection goes to (RFC 1413 §6).
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None).ok()?;
        socket.bind(&SocketAddr::new(local.ip(), 0).into()).ok()?;
        socket.connect_timeout(&SocketAddr::new(remote.ip(), self.port).into(), self.time_max).ok()?;
        let mut stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(self.time_max)).ok()?;
        stream.write_all(format!("{} , {}\r\n", remote.port(), local.port()).as_bytes()).ok()?;
        let mut answer = Vec::new();
        let mut piece = [0; ANSWER_BYTES_MAX];
        while !answer.contains(&b'\n') && answer.len() < ANSWER_BYTES_MAX {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            stream.set_read_timeout(Some(left)).ok()?;
            match stream.read(&mut piece[answer.len()..]) {
                Ok(0) => break,
                Ok(length) => {
                    let from = answer.len();
                    answer.extend_from_slice(&piece[from..from + length]);
                }
                Err(fault) if fault.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let line = answer.split(|byte| *byte == b'\n').next()?;
        user_in(line, (remote.port(), local.port())).map(Into::into)
    }
}

/// The user that an answer names: `PORT , PORT : USERID : SYSTEM : USER` (RFC 1413 §5), where these are the ports that were
/// asked for, and the system is one whose users have such names.
fn user_in(line: &[u8], asked: (u16, u16)) -> Option<&str> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).ok()?;
    let mut parts = line.splitn(4, ':');
    let (ports, kind, system, user) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (there, here) = ports.split_once(',')?;
    let number = |text: &str| text.trim().parse::<u16>().ok();
    if (number(there)?, number(here)?) != asked || kind.trim() != "USERID" {
        return None;
    }
    // Behind a comma stands how its letters are written.
    let (system, letters) = system.split_once(',').unwrap_or((system, "US-ASCII"));
    if system.trim().is_empty() || system.trim() == "OTHER" || !matches!(letters.trim(), "US-ASCII" | "UTF-8") {
        return None;
    }
    let user = user.trim_start_matches([' ', '\t']);
    // A name that begins as those do that nobody has vouched for would look like one of them.
    let is_bad = |c: char| c.is_whitespace() || c.is_control();
    let is_user = (1..=USER_BYTES_MAX).contains(&user.len()) && !user.contains(is_bad) && !user.starts_with('~');
    is_user.then_some(user)
}

/// The name of an address, if that name has the address: what the owner of the address alone says proves nothing.
fn name_of(
    ip: IpAddr,
    name_of: impl Fn(&IpAddr) -> Option<String>,
    addresses_of: impl Fn(&str) -> Vec<IpAddr>,
) -> Option<Box<str>> {
    let ip = ip.to_canonical();
    let name = host_name(&name_of(&ip)?)?;
    let has_it = addresses_of(&name).into_iter().any(|other| other.to_canonical() == ip);
    has_it.then(|| name.into())
}

/// The addresses that the system's resolver knows of a name.
fn addresses_of(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().map(|all| all.map(|at| at.ip()).collect()).unwrap_or_default()
}

/// What nobody waits for any more is not looked up.
fn look(asked: &Mail, look: impl FnOnce(Find) -> Option<Box<str>>) -> Mail {
    Mail::answer(match asked.asked() {
        Some(Ask::Look(ticket, question)) => {
            Answer::Found(*ticket, if question.is_wanted() { look(question.find()) } else { None })
        }
        other => Answer::Found(other.map_or(Ticket(0), Ask::ticket), None),
    })
}

impl DeskWork<Mail> for Names {
    fn work(&mut self, asked: &Mail) -> Mail {
        look(asked, |find| match find {
            Find::Name(ip) => name_of(ip, |ip| dns_lookup::lookup_addr(ip).ok(), addresses_of),
            Find::User { .. } => None,
        })
    }
    fn failed(&mut self, asked: &Mail) -> Mail {
        look(asked, |_| None)
    }
}

impl DeskWork<Mail> for Idents {
    fn work(&mut self, asked: &Mail) -> Mail {
        look(asked, |find| match find {
            Find::User { local, remote } => self.user(local, remote),
            Find::Name(_) => None,
        })
    }
    fn failed(&mut self, asked: &Mail) -> Mail {
        look(asked, |_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    #[test]
    fn answers() {
        for (line, user) in [
            ("6193, 23 : USERID : UNIX : stjohns", Some("stjohns")),
            ("6193,23:USERID:UNIX:stjohns\r", Some("stjohns")),
            ("6193 , 23 : USERID : UNIX, UTF-8 : \t민수", Some("민수")),
            ("6193, 23 : USERID : UNIX : a:b", Some("a:b")),
            ("6193, 23 : USERID : OTHER : a", None),
            ("6193, 23 : USERID : UNIX, EBCDIC : a", None),
            ("6193, 23 : USERID : : a", None),
            ("6193, 24 : USERID : UNIX : a", None),
            ("23, 6193 : USERID : UNIX : a", None),
            ("6193, 23 : ERROR : NO-USER", None),
            ("6193, 23 : ERROR : UNKNOWN : a", None),
            ("6193, 23 : userid : UNIX : a", None),
            ("6193, 23 : USERID : UNIX : ", None),
            ("6193, 23 : USERID : UNIX : a b", None),
            ("6193, 23 : USERID : UNIX : a\0b", None),
            ("6193, 23 : USERID : UNIX : ~a", None),
            ("66193, 23 : USERID : UNIX : a", None),
            ("", None),
        ] {
            assert_eq!(user_in(line.as_bytes(), (6193, 23)), user, "{line}");
        }
        assert_eq!(user_in(b"6193, 23 : USERID : UNIX : \xff", (6193, 23)), None);
        let long = format!("6193, 23 : USERID : UNIX : {}", "a".repeat(USER_BYTES_MAX + 1));
        assert_eq!(user_in(long.as_bytes(), (6193, 23)), None);
    }

    #[test]
    fn a_name_must_have_the_address() {
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let other: IpAddr = "192.0.2.8".parse().unwrap();
        let found = |name: &str, addresses: &[IpAddr]| {
            let (name, addresses) = (name.to_owned(), addresses.to_vec());
            name_of(ip, |_| Some(name.clone()), |_| addresses.clone())
        };
        assert_eq!(found("A.example.", &[other, ip]).as_deref(), Some("a.example"));
        assert_eq!(found("a.example", &["::ffff:192.0.2.7".parse().unwrap()]).as_deref(), Some("a.example"));
        assert_eq!(found("a.example", &[other]), None);
        assert_eq!(found("a.example", &[]), None);
        assert_eq!(found("192.0.2.7", &[ip]), None);
        assert_eq!(name_of(ip, |_| None, |_| vec![ip]), None);
    }

    #[test]
    fn this_machine_has_a_name() {
        let name = name_of([127, 0, 0, 1].into(), |ip| dns_lookup::lookup_addr(ip).ok(), addresses_of);
        assert!(name.as_deref().is_none_or(|name| host_name(name).as_deref() == Some(name)), "{name:?}");
        assert_eq!(addresses_of("127.0.0.1"), [IpAddr::from([127, 0, 0, 1])]);
    }

    /// One who answers once with what `answer` makes of the question, and what came of it.
    fn asked(answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static, time: Duration) -> Option<Box<str>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let there = thread::spawn(move || {
            let (mut stream, from) = listener.accept().unwrap();
            assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 2]), "asked from where the connection goes to");
            let mut question = [0; 64];
            let length = stream.read(&mut question).unwrap();
            let answer = answer(std::str::from_utf8(&question[..length]).unwrap());
            let sent = stream.write_all(&answer);
            // Until the other end has gone.
            let _ = sent.and_then(|()| stream.read(&mut question));
        });
        let local = SocketAddr::from(([127, 0, 0, 2], 6667));
        let remote = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let user = Idents::new(port, time).user(local, remote);
        there.join().unwrap();
        user
    }

    #[test]
    fn a_machine_is_asked() {
        let hang = Duration::from_secs(60);
        let answer = |question: &str| {
            assert_eq!(question, "40000 , 6667\r\n");
            b"40000 , 6667 : USERID : UNIX : minsu\r\n".to_vec()
        };
        assert_eq!(asked(answer, hang).as_deref(), Some("minsu"));
        assert_eq!(asked(|_| b"40000 , 6667 : ERROR : HIDDEN-USER\r\n".to_vec(), hang), None);
        // Without end, and without a word.
        assert_eq!(asked(|_| vec![b'a'; 100_000], hang), None);
        assert_eq!(asked(|_| Vec::new(), Duration::from_millis(50)), None);
        // Where nobody listens.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(Idents::new(port, hang).user(at, at), None);
    }
}
