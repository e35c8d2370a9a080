//! Somebody with an IRC client.
use crate::conn::Conn;
use std::io::{BufRead, BufReader, Read};

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
        let conn = Conn::dial(address);
        Self { lines: BufReader::new(conn.twin()), conn }
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
