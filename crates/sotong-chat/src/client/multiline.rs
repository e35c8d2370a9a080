//! Messages of several lines (IRCv3 draft/multiline): a batch from a client that is told as one message.
use super::{Client, Stage, Talk};
use crate::{
    ChatLimits,
    caps::Caps,
    counters::Opened,
    hall::Words,
    news::{Row, Verb},
};
use sotong_irc::{Message, is_tag_key, names};
use std::fmt;

/// The batch that a client has open.
#[derive(Debug)]
pub(super) enum Batch {
    Open(Box<Lines>),
    /// It was refused: what is still to come of it is not looked at.
    Refused(Box<str>),
}

/// The lines of a message, as far as they have come.
#[derive(Debug)]
pub(super) struct Lines {
    /// The client's name for the batch.
    name: Box<str>,
    target: Box<str>,
    label: Option<String>,
    tags: Vec<(Box<str>, Box<str>)>,
    verb: Option<Verb>,
    lines: Vec<Row>,
    bytes: usize,
    _open: Opened,
}

/// What a command is to a batch.
#[derive(Debug)]
pub(super) enum Part {
    /// It has nothing to do with one.
    None,
    /// It has been taken, or belongs to what was refused.
    Taken,
    /// The message is whole.
    Whole(Box<Lines>),
    /// The batch is refused; with the label that its answer has.
    Wrong(Option<String>, Fault),
}

/// Why a batch is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Invalid(&'static str),
    Target(Box<str>, Box<str>),
    Bytes(usize),
    Lines(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid(why) => why,
            Self::Target(..) => "A line has another target than its batch",
            Self::Bytes(_) => "The message has too many bytes",
            Self::Lines(_) => "The message has too many lines",
        })
    }
}

const TYPE: &str = "draft/multiline";
const CONCAT: &str = "draft/multiline-concat";

impl Lines {
    fn new(name: &str, target: &str, message: &Message<'_>, open: Opened) -> Self {
        let own = message.tags.iter().filter(|tag| tag.key.starts_with('+') && is_tag_key(tag.key));
        let tags = own.map(|tag| (tag.key.into(), tag.value().into())).collect();
        let (name, target) = (name.into(), target.into());
        Self { name, target, label: None, tags, verb: None, lines: Vec::new(), bytes: 0, _open: open }
    }
    /// Takes a line.
    fn take(&mut self, message: &Message<'_>, limits: &ChatLimits) -> Result<(), Fault> {
        let verb = match &*message.command.to_ascii_uppercase() {
            "PRIVMSG" => Verb::Privmsg,
            "NOTICE" => Verb::Notice,
            _ => return Err(Fault::Invalid("Only PRIVMSG and NOTICE belong in a batch of lines")),
        };
        if *self.verb.get_or_insert(verb) != verb {
            return Err(Fault::Invalid("A batch of lines has PRIVMSG or NOTICE, not both"));
        }
        let target = message.param(0).unwrap_or("");
        if names::fold(target) != names::fold(&self.target) {
            return Err(Fault::Target(self.target.clone(), target.into()));
        }
        let text = message.params().get(1).copied().unwrap_or("");
        let is_more = message.tags.iter().any(|tag| tag.key == CONCAT);
        if is_more && text.is_empty() {
            return Err(Fault::Invalid("An empty line cannot be joined to the one before"));
        }
        if self.lines.len() >= limits.multiline_lines_max {
            return Err(Fault::Lines(limits.multiline_lines_max));
        }
        // The break before it is one byte.
        self.bytes += text.len() + usize::from(!is_more && !self.lines.is_empty());
        if self.bytes > limits.multiline_bytes_max {
            return Err(Fault::Bytes(limits.multiline_bytes_max));
        }
        self.lines.push(Row { text: text.into(), is_more });
        Ok(())
    }
    /// What is said in one text, with breaks.
    fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes);
        for (at, line) in self.lines.iter().enumerate() {
            text.push_str(if at == 0 || line.is_more { "" } else { "\n" });
            text.push_str(&line.text);
        }
        text
    }
}

impl Client {
    /// Whether lines belong to a batch now, and so are no commands that count.
    pub(super) fn is_in_batch(&self) -> bool {
        matches!(self.batch, Some(Batch::Open(_)))
    }
    /// Looks what a command is to the batch that is open, or opens one.
    pub(super) fn batched(&mut self, message: &Message<'_>, limits: &ChatLimits) -> Part {
        let can = self.caps.has(Caps::MULTILINE) && self.caps.has(Caps::BATCH) && matches!(self.stage, Stage::Here);
        let is_batch = message.command.eq_ignore_ascii_case("BATCH");
        if !can {
            return Part::None;
        }
        let of = message.tags.get("batch");
        match (self.batch.take(), of) {
            (Some(Batch::Refused(name)), Some(of)) if *of == *name => {
                self.batch = Some(Batch::Refused(name));
                Part::Taken
            }
            (Some(Batch::Refused(name)), _) if is_batch && message.param(0).and_then(ending) == Some(&*name) => {
                Part::Taken
            }
            (Some(Batch::Open(mut lines)), Some(of)) if *of == *lines.name => match lines.take(message, limits) {
                Ok(()) => {
                    self.batch = Some(Batch::Open(lines));
                    Part::Taken
                }
                Err(why) => self.wrong(*lines, why),
            },
            (Some(Batch::Open(lines)), None) if is_batch && message.param(0).and_then(ending) == Some(&*lines.name) => {
                let is_blank = lines.lines.iter().all(|line| line.text.is_empty());
                match is_blank {
                    true => Part::Wrong(lines.label, Fault::Invalid("There is nothing in that message")),
                    false => Part::Whole(lines),
                }
            }
            (Some(Batch::Open(lines)), None) if is_of_the_connection(message.command) => {
                self.batch = Some(Batch::Open(lines));
                Part::None
            }
            (Some(Batch::Open(lines)), _) => {
                self.wrong(*lines, Fault::Invalid("That does not belong in the batch that is open"))
            }
            (None | Some(Batch::Refused(_)), Some(of)) => {
                let why = Fault::Invalid("There is no such batch");
                self.batch = Some(Batch::Refused(of.as_str().into()));
                Part::Wrong(None, why)
            }
            (None | Some(Batch::Refused(_)), None) if is_batch => self.open_batch(message),
            (batch, None) => {
                self.batch = batch;
                Part::None
            }
        }
    }
    fn open_batch(&mut self, message: &Message<'_>) -> Part {
        let name = message.param(0).and_then(|name| name.strip_prefix('+')).filter(|name| is_name(name));
        let label = self.label(message);
        let (Some(name), Some(TYPE), Some(target)) = (name, message.param(1), message.param(2)) else {
            return Part::Wrong(label, Fault::Invalid("BATCH takes +NAME, draft/multiline and a target"));
        };
        let mut lines = Lines::new(name, target, message, self.chat.gauges.batches.open());
        lines.label = label;
        self.batch = Some(Batch::Open(Box::new(lines)));
        Part::Taken
    }
    fn wrong(&mut self, lines: Lines, why: Fault) -> Part {
        self.batch = Some(Batch::Refused(lines.name));
        Part::Wrong(lines.label, why)
    }
}

fn ending(name: &str) -> Option<&str> {
    name.strip_prefix('-')
}
/// A client's name for its batch.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
/// Commands that a client sends by itself, whatever it is saying.
fn is_of_the_connection(command: &str) -> bool {
    ["PING", "PONG", "QUIT"].iter().any(|known| command.eq_ignore_ascii_case(known))
}

impl Talk<'_, '_> {
    pub(super) fn refuse_batch(&mut self, why: &Fault) {
        match why {
            Fault::Invalid(_) => self.say(&[&"FAIL", &"BATCH", &"MULTILINE_INVALID"], Some(why)),
            Fault::Target(batch, line) => {
                self.say(&[&"FAIL", &"BATCH", &"MULTILINE_INVALID_TARGET", batch, line], Some(why));
            }
            Fault::Bytes(most) => {
                self.hit("multiline_bytes_max");
                self.say(&[&"FAIL", &"BATCH", &"MULTILINE_MAX_BYTES", most], Some(why));
            }
            Fault::Lines(most) => {
                self.hit("multiline_lines_max");
                self.say(&[&"FAIL", &"BATCH", &"MULTILINE_MAX_LINES", most], Some(why));
            }
        }
    }
    /// Says what has come in a batch.
    pub(super) fn speak_lines(&mut self, whole: &Lines) {
        let verb = whole.verb.unwrap_or(Verb::Privmsg);
        let text = whole.text();
        let echo = self.client.caps.has(Caps::ECHO_MESSAGE);
        let words = Words { verb, text: &text, lines: &whole.lines, tags: &whole.tags, echo };
        self.speak_to(&whole.target, words, verb == Verb::Notice);
    }
}

impl Lines {
    /// What is told at all costs as much as so many commands.
    pub(super) fn cost(&self) -> usize {
        self.lines.len() / LINES_OF_A_COMMAND
    }
    pub(super) fn label(&self) -> Option<String> {
        self.label.clone()
    }
}

/// Lines of a message that cost as much as one command.
const LINES_OF_A_COMMAND: usize = 4;
