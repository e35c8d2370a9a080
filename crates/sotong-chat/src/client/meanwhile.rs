//! What is told while somebody reads what he has missed: it waits until he has read that, so he hears each room in its order.
use super::{Caps, Client, Cx, Mail};
use crate::news::Told;
use sotong_session::Close;
use std::collections::VecDeque;

/// Mail that waits, in its order. Most have none, and so have a null pointer.
#[derive(Debug, Default)]
pub(super) struct Meanwhile(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    mail: VecDeque<Told>,
    /// Bytes that its lines will take in the output.
    bytes: usize,
}

/// What a piece of mail takes beside its line.
const MAIL_BYTES: usize = size_of::<Told>() + 32;

impl Meanwhile {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
    /// Bytes that wait with this piece.
    fn push(&mut self, mail: &Told, caps: Caps, own: bool) -> usize {
        let waiting = self.0.get_or_insert_default();
        let line = if mail.news.is_for(caps, own) { mail.news.line(caps).line().len() } else { 0 };
        waiting.mail.push_back(mail.clone());
        waiting.bytes += MAIL_BYTES + line;
        waiting.bytes
    }
    fn pop(&mut self) -> Option<Told> {
        let next = self.0.as_mut().and_then(|waiting| waiting.mail.pop_front());
        if next.is_none() {
            self.0 = None;
        }
        next
    }
}

impl Client {
    /// Keeps mail until what was missed has been read. It counts as what is on its way out: beyond the hard mark the client is
    /// too slow.
    pub(super) fn keep_mail(&mut self, mail: &Told, cx: &mut Cx<'_, Mail>) {
        let bytes = self.meanwhile.push(mail, self.caps, mail.news.by == Some(self.who));
        if cx.out.len() + bytes > cx.out.marks().hard {
            self.meanwhile = Meanwhile::default();
            cx.out.set_overflowed();
        }
    }
    /// Tells what has come meanwhile, if all that was missed has been written.
    pub(super) fn catch_up(&mut self, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        while self.answers.is_at_live() {
            while let Some(mail) = self.meanwhile.pop() {
                self.told(&mail, cx)?;
            }
            self.answers.go_live(cx.out);
            self.unread = None;
            self.turn_pages(cx);
            self.leave_if_done(cx)?;
        }
        Ok(())
    }
}
