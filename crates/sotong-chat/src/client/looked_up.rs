//! A newcomer is looked up: his host, and his user.
use super::{Client, Stage, Talk};
use crate::{books::Answer, hall::Origin, lookups::Lookups, news::Mail};
use sotong_irc::Message;
use sotong_session::{Close, Cx};
use std::sync::Arc;

impl Client {
    /// Begins with it at the first command: a gateway's may say that somebody else is meant.
    pub(super) fn look_up(&mut self, message: &Message<'_>, cx: &mut Cx<'_, Mail>) {
        let Stage::New(newcomer) = &mut self.stage else { return };
        if message.command.eq_ignore_ascii_case("WEBIRC") {
            return;
        }
        let Some(source) = newcomer.source.take() else { return };
        let chat = Arc::clone(&self.chat);
        let begun = Lookups::begin(&chat, source, &mut chat.hall(), cx);
        let Some((lookups, said)) = begun else { return };
        if let Stage::New(newcomer) = &mut self.stage {
            newcomer.lookups = Some(lookups);
        }
        self.tell_lookups(&said, cx);
    }
    /// A desk has found something, or nothing.
    pub(super) fn found(&mut self, answer: &Answer, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let Stage::New(newcomer) = &mut self.stage else { return Ok(()) };
        let Some(said) = newcomer.lookups.as_mut().and_then(|lookups| lookups.answered(answer)) else { return Ok(()) };
        let name = newcomer.lookups.as_ref().and_then(Lookups::name);
        if let Some(name) = name.filter(|_| !self.chat.options().cloak_addresses) {
            self.host = name.into();
        }
        self.go_on(&[said], cx)
    }
    /// It has taken too long.
    pub(super) fn go_without(&mut self, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let Stage::New(newcomer) = &mut self.stage else { return Ok(()) };
        let Some(lookups) = &mut newcomer.lookups else { return Ok(()) };
        let said = lookups.expire(&self.chat, cx.now);
        if said.is_empty() { Ok(()) } else { self.go_on(&said, cx) }
    }
    /// Where it is really from.
    pub(super) fn origin(&self) -> Option<Origin> {
        let name = match &self.stage {
            Stage::New(newcomer) => newcomer.lookups.as_ref().and_then(Lookups::name),
            Stage::Here | Stage::Over => None,
        };
        Some(Origin { ip: self.ip?, name: name.map(Into::into) })
    }

    fn tell_lookups(&mut self, said: &[String], cx: &mut Cx<'_, Mail>) {
        self.answers.begin(None);
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        for text in said {
            talk.notice(text);
        }
        drop(hall);
        self.answers.end(cx.out);
    }
    /// Tells what has come of it, and lets the client in if that was all that was missing.
    fn go_on(&mut self, said: &[String], cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        self.tell_lookups(said, cx);
        // What else is waited for goes on by itself.
        if self.waiting.is_some() {
            return Ok(());
        }
        self.answers.begin(None);
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        let done = talk.register();
        talk.save();
        drop(hall);
        self.answers.end(cx.out);
        self.turn_pages(cx);
        done?;
        self.leave_if_done(cx)
    }
}
