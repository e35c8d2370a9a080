//! Somebody with an IRC client.
use crate::conn::Conn;
use std::io::{self, BufRead, BufReader, Read, Write as _};

/// A client that says lines and hears lines.
#[derive(Debug)]
pub struct Client {
    conn: Conn,
    lines: BufReader<Conn>,
}

impl Client {
    /// Connects, and says nothing.
    ///
    /// # Panics
    /// Nobody listens there.
    #[track_caller]
    pub fn dial(address: &str) -> Self {
        Self::over(Conn::dial(address))
    }
    /// Over a connection that is there already.
    pub fn over(conn: Conn) -> Self {
        Self { lines: BufReader::new(conn.twin()), conn }
    }
    /// Connects and registers, without asking for any capability.
    ///
    /// # Panics
    /// It is not let in.
    #[track_caller]
    pub fn registered(address: &str, nick: &str) -> Self {
        let mut client = Self::dial(address);
        client.register(nick);
        client
    }
    /// Registers.
    ///
    /// # Panics
    /// It is not let in.
    #[track_caller]
    pub fn register(&mut self, nick: &str) {
        self.say(&format!("NICK {nick}\r\nUSER u 0 * :u"));
        self.hear_until(&format!(" 001 {nick} :"));
    }
    /// Registers and comes into the lobby.
    ///
    /// # Panics
    /// It is not let in.
    #[track_caller]
    pub fn enter(address: &str, nick: &str, caps: &str) -> Self {
        let mut client = Self::dial(address);
        client.say(&format!("CAP REQ :{caps}\r\nNICK {nick}\r\nUSER u 0 * :u\r\nCAP END\r\nJOIN #lobby"));
        client.hear_until(&format!(" 366 {nick} #lobby :"));
        client
    }
    /// Says a line.
    ///
    /// # Panics
    /// It cannot be sent.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        self.conn.send(format!("{line}\r\n"));
    }
    /// Sends bytes that need not be a line.
    ///
    /// # Panics
    /// They cannot be sent.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.conn.send(bytes);
    }
    /// The next line.
    ///
    /// # Panics
    /// None comes, or one without its end.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line of UTF-8 in time");
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("a line was cut: {line:?}")).to_owned()
    }
    /// Hears lines up to one with `part` in it; gives back all of them.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn hear_until(&mut self, part: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|line: &String| line.contains(part)) {
            heard.push(self.hear());
        }
        heard
    }
    /// Hears lines up to one with `part` in it; gives back that one.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn wait_for(&mut self, part: &str) -> String {
        self.hear_until(part).pop().unwrap_or_default()
    }
    /// Says a line to a server that may have gone.
    ///
    /// # Errors
    /// It has gone.
    pub fn try_say(&mut self, line: &str) -> io::Result<()> {
        self.conn.write_all(format!("{line}\r\n").as_bytes())
    }
    /// The next line with its end, or what there is of it: nothing, where the connection has ended.
    ///
    /// # Errors
    /// The connection was cut off.
    pub fn try_hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }
    /// All up to the end of the connection.
    ///
    /// # Panics
    /// It does not end.
    #[track_caller]
    pub fn rest(mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("UTF-8, and an end");
        rest
    }
}
