//! Somebody in a room.
use crate::conn::Conn;
use std::io::{BufRead, BufReader};

/// A member of a room, by a stream.
#[derive(Debug)]
pub struct Person {
    conn: Conn,
    lines: BufReader<Conn>,
}

impl Person {
    /// Connects, and reads the question for a name.
    ///
    /// # Panics
    /// It is not asked.
    #[track_caller]
    pub fn knock(address: &str) -> Self {
        let conn = Conn::dial(address);
        let mut person = Self { lines: BufReader::new(conn.twin()), conn };
        assert_eq!(person.hear(), "What is your name?");
        person
    }
    /// Comes in as `name`, and reads the welcome.
    ///
    /// # Panics
    /// The name is refused.
    #[track_caller]
    pub fn enter(address: &str, name: &str) -> Self {
        let mut person = Self::knock(address);
        person.say(name);
        assert_eq!(person.hear(), format!("* Welcome, {name}. /help lists the commands."));
        let roll = person.hear();
        assert!(roll == "* Nobody else is here yet." || roll.starts_with("* Here: "), "{roll}");
        person
    }
    /// Says a line.
    ///
    /// # Panics
    /// It cannot be sent.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        self.conn.send(format!("{line}\n"));
    }
    /// The next line heard.
    ///
    /// # Panics
    /// None comes.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        self.next().expect("a line before the end")
    }
    /// Hears lines until `line` comes; gives back those before.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn hear_until(&mut self, line: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.next() {
                Some(heard) if heard == line => return before,
                Some(heard) => before.push(heard),
                None => panic!("never heard {line:?}; heard {before:#?}"),
            }
        }
    }
    /// All lines up to the end of the connection.
    #[track_caller]
    pub fn rest(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
    /// The connection itself.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    #[track_caller]
    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line of UTF-8 in time");
        let whole = line.strip_suffix('\n');
        assert!(whole.is_some() || line.is_empty(), "a line was cut: {line:?}");
        whole.map(str::to_owned)
    }
}
