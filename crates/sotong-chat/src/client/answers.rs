//! Answers in the order of their commands, though some wait for mail.
use super::pages::Page;
use sotong_irc::{Encoder, escape};
use sotong_session::Output;
use std::collections::VecDeque;

/// Answers on their way out. What a command does in a room comes back to the one who did it by mail, at its place in the
/// room's order; whatever is answered later, PONG included, waits for it. So does it for long lists, which are written as
/// the output has room for them.
///
/// A command with a label is answered in one piece: `ACK`, one line, or a batch (IRCv3 labeled response).
#[derive(Debug)]
pub(crate) struct Answers {
    server: Box<str>,
    jobs: VecDeque<Job>,
    /// Bytes that wait.
    held: usize,
    /// Whether the last job is that of the command that is being carried out.
    is_current: bool,
    /// Where the job belongs that is last while it is carried on with.
    resumed: Option<usize>,
    /// Lines of the command that waits for a desk which have come before the desk's answer: another has heard before of what
    /// is on disk.
    early: usize,
    batches: u64,
    /// Something was missed, and is read first. That is so once in a connection.
    reads_back: bool,
}

/// The answers to one command.
#[derive(Debug)]
struct Job {
    label: Label,
    pieces: VecDeque<Piece>,
}

#[derive(Debug)]
enum Label {
    None,
    /// Nothing has been answered yet.
    Asked(String),
    /// The batch with this name has begun.
    Batch(String),
}

#[derive(Debug)]
enum Piece {
    Lines(Vec<u8>),
    /// A batch with all that is in it: it counts as one line, which only its ends are tagged of.
    Batch(Vec<u8>),
    /// A line that comes by mail.
    Awaited,
    /// What comes of a desk's answer.
    Desk,
    /// The same, for one that is not part of the answer.
    AwaitedBare,
    Page(Page),
    /// What has come meanwhile is told here.
    Live,
}

impl Answers {
    pub(crate) fn new(server: &str) -> Self {
        Self {
            server: server.into(),
            jobs: VecDeque::new(),
            held: 0,
            is_current: false,
            resumed: None,
            early: 0,
            batches: 0,
            reads_back: false,
        }
    }
    /// Begins to answer a command.
    pub(crate) fn begin(&mut self, label: Option<String>) {
        self.is_current = label.is_some() || !self.jobs.is_empty();
        if self.is_current {
            self.push(label.map_or(Label::None, Label::Asked));
        }
    }
    /// The command has been carried out as far as it goes now.
    pub(crate) fn end(&mut self, out: &mut Output) {
        self.is_current = false;
        self.flush(out);
    }
    /// Commands whose answers wait.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }
    /// Writes a line of the answer.
    pub(crate) fn write(&mut self, out: &mut Output, line: impl FnOnce(&mut Vec<u8>)) {
        let Some(job) = self.jobs.back_mut().filter(|_| self.is_current) else { return out.render(line) };
        if let Some(Piece::Lines(lines)) = job.pieces.back_mut() {
            let before = lines.len();
            line(lines);
            self.held += lines.len() - before;
            return;
        }
        let mut lines = Vec::new();
        line(&mut lines);
        self.held += lines.len();
        job.pieces.push_back(Piece::Lines(lines));
    }
    /// A name for the next batch of the client.
    pub(crate) fn name_batch(&mut self) -> String {
        self.batches += 1;
        format!("b{}", self.batches)
    }
    /// Writes a whole batch, which `lines` has from its opening line to its closing one.
    pub(crate) fn write_batch(&mut self, out: &mut Output, lines: Vec<u8>) {
        let Some(job) = self.jobs.back_mut().filter(|_| self.is_current) else { return out.put(&lines) };
        self.held += lines.len();
        job.pieces.push_back(Piece::Batch(lines));
    }
    /// The next `count` lines of the answer come by mail.
    pub(crate) fn wait(&mut self, count: usize) {
        let early = self.early.min(count);
        self.early -= early;
        for _ in early..count {
            self.add(Piece::Awaited);
        }
    }
    /// The same for lines that are not part of the answer.
    pub(crate) fn wait_bare(&mut self, count: usize) {
        for _ in 0..count {
            self.add(Piece::AwaitedBare);
        }
    }
    /// The rest of the answer comes when a desk has answered. One command at a time waits for that.
    pub(crate) fn hold(&mut self) {
        self.add(Piece::Desk);
    }
    /// The desk has answered: what is written now belongs to the command that has waited for it.
    pub(crate) fn resume(&mut self) {
        let Some(at) = self.jobs.iter().position(is_held) else { return };
        let Some(mut job) = self.jobs.remove(at) else { return };
        job.pieces.retain(|piece| !matches!(piece, Piece::Desk));
        self.jobs.push_back(job);
        self.resumed = Some(at);
        self.is_current = true;
    }
    /// The command has been carried on with as far as it goes now.
    pub(crate) fn end_resumed(&mut self, out: &mut Output) {
        if let (Some(at), Some(job)) = (self.resumed.take(), self.jobs.pop_back()) {
            self.jobs.insert(at, job);
        }
        self.early = 0;
        self.end(out);
    }
    /// What is told from here on, waits until all before it has been written.
    pub(crate) fn live(&mut self) {
        self.add(Piece::Live);
        self.reads_back = true;
    }
    /// Whether there is something before what is told.
    pub(crate) fn reads_back(&self) -> bool {
        self.reads_back
    }
    /// Whether all before it has been written.
    pub(crate) fn is_at_live(&self) -> bool {
        self.reads_back && self.jobs.front().is_some_and(|job| matches!(job.pieces.front(), Some(Piece::Live)))
    }
    /// All that has waited for that has been told.
    pub(crate) fn go_live(&mut self, out: &mut Output) {
        debug_assert!(self.is_at_live());
        self.reads_back = false;
        if let Some(job) = self.jobs.front_mut() {
            job.pieces.pop_front();
        }
        self.flush(out);
    }
    /// A list follows, to be written as there is room.
    pub(crate) fn page(&mut self, page: Page) {
        self.add(Piece::Page(page));
    }
    /// A line has come that somebody waits for; an empty one where the client is not told. It is put out where nobody does.
    ///
    /// It has its place in a room's order, and what others say behind it may come next: so it never waits, for a long list
    /// before it or for other lines of the same answer.
    pub(crate) fn came(&mut self, line: &[u8], is_batch: bool, out: &mut Output) {
        let awaited = |job: &Job| job.pieces.iter().position(is_awaited);
        let found = self.jobs.iter().enumerate().find_map(|(number, job)| Some((number, awaited(job)?)));
        let Some((number, at)) = found else { return self.came_early(line, is_batch, out) };
        let job = &mut self.jobs[number];
        if matches!(job.pieces[at], Piece::AwaitedBare) {
            job.pieces.remove(at);
            out.put(line);
            return self.flush(out);
        }
        if let Label::Asked(label) = &job.label
            && !line.is_empty()
        {
            if job.pieces.iter().filter(|piece| !matches!(piece, Piece::AwaitedBare)).count() == 1 {
                let tag = format!("label={}", escape(label));
                if is_batch {
                    put_batch(line, &tag, false, out);
                } else {
                    put_tagged(line, &tag, out);
                }
                job.label = Label::None;
                job.pieces.remove(at);
                return self.flush(out);
            }
            self.batches += 1;
            job.label = open_batch(label, self.batches, &self.server, out);
        }
        let is_written = |piece: &Piece| matches!(piece, Piece::Lines(_) | Piece::Batch(_));
        let is_next = number == 0 && job.pieces.iter().take(at).all(is_written);
        if is_next {
            job.pieces[at] = if is_batch { Piece::Batch(line.to_vec()) } else { Piece::Lines(line.to_vec()) };
            self.held += line.len();
        } else {
            job.pieces.remove(at);
            match &job.label {
                Label::Batch(name) if is_batch => put_batch(line, &format!("batch={name}"), true, out),
                label => put(line, label, out),
            }
        }
        self.flush(out);
    }
    /// A line has come that nobody waits for: if a command waits for a desk, it is that one's.
    fn came_early(&mut self, line: &[u8], is_batch: bool, out: &mut Output) {
        let Some(job) = self.jobs.iter_mut().find(|job| is_held(job)) else { return out.put(line) };
        self.early += 1;
        if let Label::Asked(label) = &job.label
            && !line.is_empty()
        {
            self.batches += 1;
            job.label = open_batch(label, self.batches, &self.server, out);
        }
        match &job.label {
            Label::Batch(name) if is_batch => put_batch(line, &format!("batch={name}"), true, out),
            label => put(line, label, out),
        }
    }
    /// The list whose turn it is.
    pub(crate) fn open_page(&mut self) -> Option<&mut Page> {
        let job = self.jobs.front_mut().filter(|job| !is_undecided(job))?;
        match job.pieces.front_mut() {
            Some(Piece::Page(page)) => Some(page),
            _ => None,
        }
    }
    /// Some lines of the list whose turn it is, and whether it ends with them.
    pub(crate) fn turn_page(&mut self, lines: &[u8], is_last: bool, out: &mut Output) {
        let Some(job) = self.jobs.front_mut() else { return };
        if let Label::Asked(label) = &job.label {
            self.batches += 1;
            job.label = open_batch(label, self.batches, &self.server, out);
        }
        match &job.label {
            // What is in a batch of its own is tagged with that.
            Label::Batch(name) => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    if line.starts_with(b"@batch=") {
                        out.put(line);
                    } else {
                        put_tagged(line, &format!("batch={name}"), out);
                    }
                }
            }
            Label::None | Label::Asked(_) => out.put(lines),
        }
        if is_last {
            job.pieces.pop_front();
            self.flush(out);
        }
    }

    fn push(&mut self, label: Label) {
        self.jobs.push_back(Job { label, pieces: VecDeque::new() });
    }
    fn add(&mut self, piece: Piece) {
        if !std::mem::replace(&mut self.is_current, true) {
            self.push(Label::None);
        }
        if let Some(job) = self.jobs.back_mut() {
            job.pieces.push_back(piece);
        }
    }
    /// Sends what waits for nothing any more.
    fn flush(&mut self, out: &mut Output) {
        while let Some(job) = self.jobs.front_mut() {
            if is_undecided(job) {
                return;
            }
            if let Label::Asked(label) = &job.label {
                let pages = job.pieces.iter().any(|piece| matches!(piece, Piece::Page(_) | Piece::Live));
                let count = job.pieces.iter().map(count_lines).sum::<usize>();
                if count == 0 && !pages {
                    let ack = |line: &mut Vec<u8>| {
                        Encoder::new(line).tag("label", label).source(&self.server).word("ACK").end();
                    };
                    out.render(ack);
                    job.label = Label::None;
                } else if count == 1 && !pages {
                    let tag = format!("label={}", escape(label));
                    for piece in job.pieces.drain(..) {
                        match piece {
                            Piece::Lines(line) => {
                                self.held -= line.len();
                                put_tagged(&line, &tag, out);
                            }
                            Piece::Batch(lines) => {
                                self.held -= lines.len();
                                put_batch(&lines, &tag, false, out);
                            }
                            Piece::Awaited | Piece::AwaitedBare | Piece::Desk | Piece::Page(_) | Piece::Live => {}
                        }
                    }
                } else {
                    self.batches += 1;
                    job.label = open_batch(label, self.batches, &self.server, out);
                }
            }
            loop {
                match job.pieces.front() {
                    Some(Piece::Lines(lines)) => {
                        self.held -= lines.len();
                        put(lines, &job.label, out);
                    }
                    Some(Piece::Batch(lines)) => {
                        self.held -= lines.len();
                        match &job.label {
                            Label::Batch(name) => put_batch(lines, &format!("batch={name}"), true, out),
                            Label::None | Label::Asked(_) => out.put(lines),
                        }
                    }
                    Some(Piece::Awaited | Piece::AwaitedBare | Piece::Desk | Piece::Page(_) | Piece::Live) | None => {
                        break;
                    }
                }
                job.pieces.pop_front();
            }
            if !job.pieces.is_empty() {
                return;
            }
            if let Label::Batch(name) = &job.label {
                let end = |line: &mut Vec<u8>| {
                    Encoder::new(line).source(&self.server).word("BATCH").word(format_args!("-{name}")).end();
                };
                out.render(end);
            }
            self.jobs.pop_front();
        }
    }
}

/// It has a label, and what is still to come decides whether it is one line or more.
fn is_undecided(job: &Job) -> bool {
    let is_open = |piece: &Piece| matches!(piece, Piece::Awaited | Piece::Desk);
    matches!(job.label, Label::Asked(_)) && job.pieces.iter().any(is_open)
}
/// It waits for a desk.
fn is_held(job: &Job) -> bool {
    job.pieces.iter().any(|piece| matches!(piece, Piece::Desk))
}
fn is_awaited(piece: &Piece) -> bool {
    matches!(piece, Piece::Awaited | Piece::AwaitedBare)
}
fn count_lines(piece: &Piece) -> usize {
    match piece {
        Piece::Lines(lines) => lines.iter().filter(|byte| **byte == b'\n').count(),
        Piece::Batch(_) => 1,
        Piece::Awaited | Piece::AwaitedBare | Piece::Desk | Piece::Page(_) | Piece::Live => 0,
    }
}
fn open_batch(label: &str, number: u64, server: &str, out: &mut Output) -> Label {
    let name = format!("l{number}");
    let begin = |line: &mut Vec<u8>| {
        let encoder = Encoder::new(line).tag("label", label).source(server).word("BATCH");
        encoder.word(format_args!("+{name}")).word("labeled-response").end();
    };
    out.render(begin);
    Label::Batch(name)
}
fn put(lines: &[u8], label: &Label, out: &mut Output) {
    match label {
        Label::Batch(name) => put_tagged(lines, &format!("batch={name}"), out),
        Label::None | Label::Asked(_) => out.put(lines),
    }
}
/// Puts a batch out whose opening line has one tag more, and its closing line too where it is `nested` in another: what is in
/// it is tagged of itself.
fn put_batch(lines: &[u8], tag: &str, nested: bool, out: &mut Output) {
    let opening = memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
    let (opening, rest) = lines.split_at(opening);
    put_tagged(opening, tag, out);
    let body = rest.strip_suffix(b"\n").unwrap_or(rest);
    let closing = memchr::memrchr(b'\n', body).map_or(0, |end| end + 1);
    let (inner, closing) = rest.split_at(closing);
    out.put(inner);
    if nested { put_tagged(closing, tag, out) } else { out.put(closing) }
}
/// Puts lines out with one tag more, in front of those they have.
fn put_tagged(lines: &[u8], tag: &str, out: &mut Output) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        out.put(b"@");
        out.put(tag.as_bytes());
        match line.strip_prefix(b"@") {
            Some(tagged) => {
                out.put(b";");
                out.put(tagged);
            }
            None => {
                out.put(b" ");
                out.put(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotong_session::{Kind, Marks};

    const MARKS: Marks = Marks { low: 0, high: 1000, hard: 1000 };

    /// What was put out since the last time.
    fn put_out(out: &mut Output) -> String {
        let mut bytes = Vec::new();
        while let Some(piece) = out.front() {
            bytes.extend_from_slice(piece);
            let length = piece.len();
            out.advance(length);
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// Another session hears of the desk's answer first, and tells: the line comes before the one that asked knows of it.
    #[test]
    fn a_line_that_comes_before_the_desks_answer_is_part_of_the_answer() {
        let (mut answers, mut out) = (Answers::new("s"), Output::new(Kind::Stream, MARKS));
        answers.begin(Some("one".to_owned()));
        answers.hold();
        answers.end(&mut out);
        answers.came(b":a MODE #a +b x\r\n", false, &mut out);
        assert_eq!(put_out(&mut out), "@label=one :s BATCH +l1 labeled-response\r\n@batch=l1 :a MODE #a +b x\r\n");
        answers.resume();
        answers.wait(2);
        answers.end_resumed(&mut out);
        assert!(!answers.is_empty(), "the other is awaited");
        answers.came(b":a MODE #a +b y\r\n", false, &mut out);
        assert_eq!(put_out(&mut out), "@batch=l1 :a MODE #a +b y\r\n:s BATCH -l1\r\n");
        assert!(answers.is_empty());
        // It counts for that command alone.
        answers.wait(1);
        assert!(!answers.is_empty());
    }
}
